"""The file host on the wire, with Range and without."""

import os

import httpx
import pytest

from addon.standin.server import StandIn
from addon.standin.switches import Switches
from tests.standin.asking import Asker
from tests.standin_fixture import CHANNEL

CONTENT = os.urandom(1000)


async def test_the_whole_file_and_no_range(bot: Asker) -> None:
    path = await bot.file_path(await bot.send(CONTENT))
    answer = await bot.download(path, range="bytes=0-9")
    assert answer.status_code == 200
    assert answer.content == CONTENT
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "accept-ranges" not in answer.headers


async def test_a_path_belongs_to_the_bot_that_asked(bot: Asker, bot_b: Asker) -> None:
    path = await bot.file_path(await bot.send(CONTENT))
    assert (await bot_b.download(path)).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "documents/file_7.bin",
        "../../world.db",
        "..%2f..%2fworld.db",
        "documents/../../../world.db",
        "/etc/passwd",
        "documents",
        "%00",
    ],
)
async def test_no_other_path_leads_anywhere(bot: Asker, path: str) -> None:
    await bot.file_path(await bot.send(CONTENT))
    answer = await bot.download(path)
    assert answer.status_code == 404
    assert answer.json() == {"ok": False, "error_code": 404, "description": "Not Found"}


async def test_head_is_get_without_the_body(standin: StandIn, bot: Asker, http: httpx.AsyncClient) -> None:
    path = await bot.file_path(await bot.send(CONTENT))
    answer = await http.head(f"{standin.url}/file/bot{bot.token}/{path}")
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "1000", b"")
    assert (await bot.download(path)).content == CONTENT


class TestRange:
    @pytest.fixture
    def switches(self) -> Switches:
        return Switches(range_support=True, head_support=False)

    @pytest.mark.parametrize(
        ("asked", "status", "start", "end"),
        [
            ("bytes=0-9", 206, 0, 10),
            ("bytes=990-", 206, 990, 1000),
            ("bytes=-10", 206, 990, 1000),
            ("bytes=990-5000", 206, 990, 1000),
            ("bytes=-5000", 206, 0, 1000),
            ("bytes=0-0", 206, 0, 1),
            ("bytes=0-9,20-29", 200, 0, 1000),
            ("bytes=9-0", 200, 0, 1000),
            ("items=0-9", 200, 0, 1000),
            ("bytes=-", 200, 0, 1000),
        ],
    )
    async def test_single_ranges(self, bot: Asker, asked: str, status: int, start: int, end: int) -> None:
        path = await bot.file_path(await bot.send(CONTENT))
        answer = await bot.download(path, range=asked)
        assert answer.status_code == status
        assert answer.content == CONTENT[start:end]
        assert answer.headers["accept-ranges"] == "bytes"
        if status == 206:
            assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/1000"

    @pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=5000-6000", "bytes=-0"])
    async def test_beyond_the_end(self, bot: Asker, asked: str) -> None:
        path = await bot.file_path(await bot.send(CONTENT))
        answer = await bot.download(path, range=asked)
        assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */1000")

    async def test_if_range_is_the_whole_file(self, bot: Asker) -> None:
        path = await bot.file_path(await bot.send(CONTENT))
        assert (await bot.download(path, range="bytes=0-9", if_range='"etag"')).status_code == 200

    async def test_head_may_be_refused(self, standin: StandIn, bot: Asker, http: httpx.AsyncClient) -> None:
        assert (await http.head(f"{standin.url}/file/bot{bot.token}/documents/file_0")).status_code == 405


async def test_a_large_file_arrives_whole(bot: Asker) -> None:
    content = os.urandom(12_345_678)
    message = await bot.send(content, chat_id=CHANNEL)
    assert (await bot.download(await bot.file_path(message))).content == content
