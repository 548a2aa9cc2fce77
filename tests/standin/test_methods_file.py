"""getFile on the wire."""

import pytest

from addon.standin.server import StandIn
from addon.standin.switches import Switches
from tests.standin.asking import Asker
from tests.standin_fixture import CHANNEL, SettableClock

UNAVAILABLE = (400, "Bad Request: wrong file_id or the file is temporarily unavailable")
TWENTY_MIB = 20 * 1024 * 1024


async def test_the_path_says_nothing_about_the_name_and_the_file_id_is_refreshed(bot: Asker) -> None:
    message = await bot.send(name="my file.pdf")
    file = await bot.result("getFile", file_id=message["document"]["file_id"])
    assert list(file) == ["file_id", "file_unique_id", "file_size", "file_path"]
    assert file["file_path"] == "documents/file_0.pdf"
    assert file["file_unique_id"] == message["document"]["file_unique_id"]
    assert file["file_id"] != message["document"]["file_id"]
    again = await bot.result("getFile", file_id=file["file_id"])
    assert again["file_unique_id"] == file["file_unique_id"]


@pytest.mark.parametrize(
    ("file_id", "refusal"),
    [
        ("", (400, "Bad Request: file_id not specified")),
        ("garbage", (400, "Bad Request: invalid file_id")),
        ("BQACAgIAAxkBAAMCZ2x", (400, "Bad Request: invalid file_id")),
    ],
)
async def test_bad_file_ids(bot: Asker, file_id: str, refusal: tuple[int, str]) -> None:
    assert await bot.refused("getFile", file_id=file_id) == refusal


async def test_another_bots_file_id(bot: Asker, bot_b: Asker) -> None:
    file_id = (await bot_b.send())["document"]["file_id"]
    assert await bot.refused("getFile", file_id=file_id) == UNAVAILABLE
    assert await bot.refused("getFile", file_id=f"{file_id[:-8]}AAAAAAAE") == UNAVAILABLE


async def test_twenty_mebibytes_pass_and_one_byte_more_does_not(bot: Asker) -> None:
    content = bytes(TWENTY_MIB + 1)
    within, beyond = await bot.send(content[1:]), await bot.send(content)
    await bot.file_path(within)
    assert await bot.refused("getFile", file_id=beyond["document"]["file_id"]) == (400, "Bad Request: file is too big")


async def test_a_path_lasts_an_hour_after_it_was_last_asked_for_and_then_has_another_number(
    bot: Asker, clock: SettableClock
) -> None:
    message = await bot.send()
    path = await bot.file_path(message)
    clock.now += 3599
    assert (await bot.download(path)).status_code == 200
    assert await bot.file_path(message) == path
    clock.now += 3600
    expired = await bot.download(path)
    assert (expired.status_code, expired.json()["description"]) == (404, "Not Found")
    assert await bot.file_path(message) == "documents/file_1.bin"


class TestLocalMode:
    @pytest.fixture
    def switches(self) -> Switches:
        return Switches(local=True)

    async def test_files_of_any_size_are_on_disk_and_not_on_the_file_host(self, standin: StandIn, bot: Asker) -> None:
        content = bytes(TWENTY_MIB + 1)
        path = await bot.file_path(await bot.send(content))
        assert path.startswith("/")
        assert path.endswith("/documents/file_0.bin")
        with open(path, "rb") as file:  # noqa: ASYNC230 - a test of the file itself
            assert file.read() == content
        assert (await bot.download("documents/file_0.bin")).status_code == 404


async def test_a_file_of_the_test_servers_is_another_world(standin: StandIn, bot: Asker) -> None:
    files = {"document": ("a.bin", b"test")}
    message = await bot.result("test/sendDocument", files, chat_id=CHANNEL)
    assert message["message_id"] == 2
    assert await bot.refused("getFile", file_id=message["document"]["file_id"]) == UNAVAILABLE
    file = await bot.result("test/getFile", file_id=message["document"]["file_id"])
    assert (await bot.download(f"test/{file['file_path']}")).content == b"test"
    assert (await bot.download(file["file_path"])).status_code == 404
    assert (await bot.send())["message_id"] == 2
