"""Documents of a local Bot API server: as large as it takes them, and read from its disk, safely."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from addon.standin.switches import Switches
from addon.store.ports import TelegramUnavailable
from addon.telegram.client import BotApi, Timeouts
from addon.telegram.errors import BotApiError, FileUnreadable, MalformedAnswer, NotFound
from addon.telegram.local_files import local_file
from tests.standin_fixture import BOT_A
from tests.telegram.secrecy import assert_no_token
from tests.telegram.telegram_world import World, fails, telegram_world

LOCAL = Switches(local=True)
CONTENT = random.Random(5).randbytes(300_000)
LARGE_BYTES = (20 << 20) + 1


def files_of(world: World) -> list[Path]:
    """The files that the server has shown."""
    return [path for path in (world.folder / "standin" / "local").rglob("*") if path.is_file()]


async def test_a_document_larger_than_telegrams_own_server_gives_back(tmp_path: Path) -> None:
    content = random.Random(6).randbytes(LARGE_BYTES)
    async with telegram_world(tmp_path, switches=LOCAL, local=True, document_bytes_max=30_000_000) as world:
        document = await world.send(content)
        assert await world.read(document) == content
        for offset, length in ((0, 1), (LARGE_BYTES - 1, 1), (5_000_000, 3_000_000)):
            assert await world.read(document, offset, length) == content[offset : offset + length]
        assert world.calls("download") == [], "nothing is asked for over HTTP"
        assert len(world.calls("getfile")) == 1
        assert world.documents.reads_from_start() is False


async def test_uploads_of_equal_size_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, switches=LOCAL, local=True) as world:
        for number in range(3):
            await world.send(CONTENT, f"doc-{number}")
        assert world.time.slept_s == 0


async def test_a_file_that_the_server_cleared_away_is_asked_for_again(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, switches=LOCAL, local=True) as world:
        document = await world.send(CONTENT)
        assert await world.read(document) == CONTENT
        for path in files_of(world):
            path.unlink()
        assert await world.read(document) == CONTENT


def gone(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nothing"))


def a_link(path: Path) -> None:
    kept = path.with_name("kept")
    path.rename(kept)
    path.symlink_to(kept)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(gone, "symbolic link"), (a_link, "symbolic link"), (a_folder, "no regular file"), (a_pipe, "no regular file")],
)
async def test_what_is_no_file_is_not_read_and_the_operator_is_told(
    tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    async with telegram_world(tmp_path, switches=LOCAL, local=True) as world:
        document = await world.send(CONTENT)
        await world.read(document)
        (path,) = files_of(world)
        spoil(path)
        error = await fails(TelegramUnavailable, world.read(document))
        assert words in str(error)
        assert world.time.slept_s == 0, "trying again does not help"


async def test_a_file_of_another_size_is_never_the_document(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, switches=LOCAL, local=True) as world:
        document = await world.send(CONTENT)
        await world.read(document)
        (path,) = files_of(world)
        path.unlink()
        path.write_bytes(CONTENT + b"x")
        await fails(TelegramUnavailable, world.read(document, 0, 10))


async def test_a_server_without_local_is_told_apart(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, local=True) as world:
        document = await world.send(CONTENT)
        error = await fails(TelegramUnavailable, world.read(document))
        assert "--local" in str(error)


async def failure_of(path: str) -> BotApiError:
    bot = BotApi("http://127.0.0.1:9", BOT_A, httpx.AsyncHTTPTransport(), Timeouts())
    with pytest.raises(BotApiError) as caught:
        [piece async for piece in local_file(bot, path, size=10, offset=0, length=10)]
    assert_no_token(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/nowhere/{token}/documents/file_0.bin", NotFound),
        ("documents/{token}/file_0.bin", FileUnreadable),
        ("/srv/{token}/../file_0.bin", FileUnreadable),
        ("/srv//{token}/file_0.bin", FileUnreadable),
        ("/srv/./{token}", FileUnreadable),
        ("/srv/{token}/", FileUnreadable),
        ("/srv/{token}\0", FileUnreadable),
        ("/dev/null/{token}", FileUnreadable),
        ("/{token}" + 300 * "x", FileUnreadable),
        ("/dev/zero", FileUnreadable),
        ("/proc/self/cmdline", MalformedAnswer),
    ],
)
async def test_a_path_that_cannot_be_read_is_an_error_without_the_token(path: str, error: type[BotApiError]) -> None:
    failure = await failure_of(path.format(token=BOT_A))
    assert type(failure) is error
    assert ("<token>" in str(failure)) == ("{token}" in path and not path.startswith("documents"))
