"""The stand-in as a whole: restarts, resets, shutdown."""

import asyncio
from pathlib import Path

import httpx
import pytest

from addon.standin.chats import ChatSpec
from addon.standin.server import StandIn
from addon.standin.switches import Switches
from tests.standin.asking import Asker, until
from tests.standin_fixture import BOT_A, CHANNEL, PRIVATE, SettableClock, running_standin

CONTENT = b"survives" * 1000


async def test_everything_survives_a_restart(tmp_path: Path, http: httpx.AsyncClient, clock: SettableClock) -> None:
    async with running_standin(tmp_path, clock=clock, seed=1) as standin:
        bot = Asker(http, standin)
        message = await bot.send(CONTENT, caption="kept")
        await bot.result("pinChatMessage", chat_id=CHANNEL, message_id=2)
        path = await bot.file_path(message)
        standin.control.clock_advance(100)
    async with running_standin(tmp_path, clock=clock, seed=2) as standin:
        bot = Asker(http, standin)
        assert standin.now() == clock.now + 100, "time does not go backwards"
        assert (await bot.result("getChat", chat_id=CHANNEL))["pinned_message"] == message
        assert (await bot.download(path)).content == CONTENT
        assert (await bot.download(await bot.file_path(message))).content == CONTENT
        assert (await bot.send())["message_id"] == 4, "2 was the document, 3 the service message about the pin"
        forwarded = await bot.result("forwardMessage", chat_id=PRIVATE, from_chat_id=CHANNEL, message_id=2)
        assert forwarded["caption"] == "kept"


async def test_a_folder_has_one_stand_in_at_a_time(tmp_path: Path) -> None:
    async with running_standin(tmp_path):
        with pytest.raises(BlockingIOError, match="another stand-in"):
            await StandIn(tmp_path).start()
    async with running_standin(tmp_path):
        pass


async def test_what_an_ended_process_left_half_received_is_removed(tmp_path: Path) -> None:
    for name in ("incoming", "blobs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "orphan").write_bytes(b"x")
    async with running_standin(tmp_path):
        assert not (tmp_path / "incoming" / "orphan").exists()
        assert not (tmp_path / "blobs" / "orphan").exists()


async def test_the_same_seed_gives_the_same_file_ids(tmp_path: Path, http: httpx.AsyncClient) -> None:
    seen = []
    for number, seed in enumerate((5, 5, 6)):
        async with running_standin(tmp_path / str(number), seed=seed) as standin:
            seen.append((await Asker(http, standin).send())["document"]["file_id"])
    assert seen[0] == seen[1] != seen[2]


async def test_a_reset_begins_again(standin: StandIn, bot: Asker) -> None:
    await bot.send(CONTENT)
    standin.control.faults({"action": "empty200"})
    standin.control.chat("kick", CHANNEL)
    standin.control.reset()
    assert standin.control.log() == []
    assert (await bot.send())["message_id"] == 2
    assert len(list((standin.folder / "blobs").iterdir())) == 1


async def test_it_stops_while_clients_wait(tmp_path: Path, http: httpx.AsyncClient) -> None:
    async with running_standin(tmp_path) as standin:
        waiting = asyncio.create_task(Asker(http, standin).answer("getUpdates", timeout=50))
        await until(lambda: bool(standin.control.log()))
    with pytest.raises(httpx.RemoteProtocolError):
        await waiting


async def test_an_error_inside_is_500_and_remembered(
    standin: StandIn, bot: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(_call: object) -> None:
        raise LookupError("inside")

    monkeypatch.setitem(__import__("addon.standin.methods").standin.methods.METHODS, "getme", explode)
    assert await bot.refused("getMe") == (500, "Internal Server Error")
    assert len(standin.crashes) == 1
    assert "inside" in standin.crashes.pop()


def test_only_loopback(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="loopback"):
        StandIn(tmp_path, host="0.0.0.0")


def test_a_wrong_token_is_named_by_its_place_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bot 2") as caught:
        StandIn(tmp_path, bots=[BOT_A, "0:hidden"])
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("-1001:channel", ChatSpec(-1001, "channel")),
        ("-5:group:My group: the first", ChatSpec(-5, "group", "My group: the first")),
        ("-1001", ChatSpec(-1001, "channel")),
        ("-5", ChatSpec(-5, "group")),
        ("7", ChatSpec(7, "private")),
    ],
)
def test_chats_as_text(text: str, spec: ChatSpec) -> None:
    assert ChatSpec.parse(text) == spec


@pytest.mark.parametrize("text", ["", "x:channel", "-1:nothing"])
def test_chats_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=repr(text)):
        ChatSpec.parse(text)


async def test_the_control_port_may_be_left_out(tmp_path: Path) -> None:
    async with running_standin(tmp_path, control_port=None, switches=Switches()) as standin:
        assert standin.control_url == ""


async def test_numbers_are_distinct_however_many_clients_send_at_once(standin: StandIn, bot: Asker) -> None:
    messages = await asyncio.gather(*(bot.send(b"%d" % number) for number in range(40)))
    assert sorted(message["message_id"] for message in messages) == list(range(2, 42))
