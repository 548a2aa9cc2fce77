"""Each fault on the wire: what the client sees, and what became of the call."""

import asyncio
import os
from typing import Any

import httpx
import pytest

from addon.standin.server import StandIn
from addon.standin.switches import Switches
from tests.standin.asking import Asker, until
from tests.standin_fixture import BOT_A, CHANNEL, GROUP, OTHER_CHANNEL, PRIVATE, SettableClock

CONTENT = os.urandom(300_000)
LOST = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)


def order(standin: StandIn, method: str, action: dict[str, Any] | str, **more: Any) -> None:
    match = {"method": method, **more.pop("match", {})}
    standin.control.faults({"match": match, "action": action, **more})


def stored(standin: StandIn, chat_id: int = CHANNEL) -> list[int]:
    """The numbers of the documents in the chat."""
    messages = standin.control.state()["chats"][str(chat_id)]["messages"]
    return [message["message_id"] for message in messages if message["kind"] == "document"]


async def upload(bot: Asker, chat_id: int = CHANNEL) -> httpx.Response:
    return await bot.answer("sendDocument", {"document": ("a.bin", CONTENT)}, chat_id=chat_id)


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize(
    ("action", "status", "start"),
    [
        (
            {"kind": "rate", "retry_after": 5},
            429,
            b'{"ok":false,"error_code":429,"description":"Too Many Requests: retry',
        ),
        ({"kind": "rate_text400", "retry_after": 15}, 400, b'{"ok":false,"error_code":400,"description":"Too Many'),
        ({"kind": "http", "code": 502}, 502, b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>"),
        ({"kind": "http", "code": 503}, 503, b"<html>\r\n<head><title>503 Service Unavailable"),
        (
            {"kind": "http", "code": 504, "form": "json"},
            504,
            b'{"ok":false,"error_code":504,"description":"Gateway Timeout"}',
        ),
        (
            {"kind": "http", "form": "restart"},
            500,
            b'{"ok":false,"error_code":500,"description":"Internal Server Error: restart"}',
        ),
        ({"kind": "http413"}, 413, b'{"ok":false,"error_code":413,"description":"Request Entity Too Large"}'),
        ({"kind": "http413", "form": "html"}, 413, b"<html>\r\n<head><title>413 Request Entity Too Large"),
        ({"kind": "empty200"}, 200, b""),
        ({"kind": "unauthorized"}, 401, b'{"ok":false,"error_code":401,"description":"Unauthorized"}'),
        ({"kind": "wrong_json"}, 200, b'{"ok":true,"result":{"message_id":'),
        ({"kind": "wrong_json", "form": "no_result"}, 200, b'{"ok":true}'),
        ({"kind": "wrong_json", "form": "null"}, 200, b'{"ok":true,"result":null}'),
    ],
)
async def test_another_answer_than_the_real_one(
    standin: StandIn, bot: Asker, action: dict[str, Any], status: int, start: bytes, phase: str
) -> None:
    order(standin, "sendDocument", {**action, "phase": phase})
    answer = await upload(bot)
    assert answer.status_code == status
    assert answer.content.startswith(start)
    assert "parameters" not in answer.text or action["kind"] == "rate"
    assert stored(standin) == ([2] if phase == "after" else [])


async def test_a_429_is_repeated_until_its_time_is_over_and_uses_up_no_other_fault(
    standin: StandIn, bot: Asker, clock: SettableClock
) -> None:
    order(standin, "sendDocument", {"kind": "rate", "retry_after": 5})
    order(standin, "sendDocument", "empty200")
    first = await upload(bot)
    clock.now += 4
    second = await upload(bot)
    assert [first.json()["parameters"]["retry_after"], second.json()["parameters"]["retry_after"]] == [5, 1]
    assert [first.headers["retry-after"], second.headers["retry-after"]] == ["5", "1"]
    assert (await upload(bot, OTHER_CHANNEL)).content == b"", "the second rule was not used up"
    clock.now += 1
    assert (await upload(bot)).json()["ok"] is True


async def test_a_429_of_the_file_host_holds_too(standin: StandIn, bot: Asker, clock: SettableClock) -> None:
    path = await bot.file_path(await bot.send())
    order(standin, "download", {"kind": "rate", "retry_after": 5})
    assert [(await bot.download(path)).status_code for _ in range(2)] == [429, 429]
    clock.now += 5
    assert (await bot.download(path)).status_code == 200


async def test_a_429_that_does_not_hold(standin: StandIn, bot: Asker) -> None:
    order(standin, "sendDocument", {"kind": "rate", "retry_after": 5, "hold": False})
    assert [(await upload(bot)).status_code for _ in range(2)] == [429, 200]


@pytest.mark.parametrize("how", ["rst", "fin"])
@pytest.mark.parametrize(
    ("at", "phase", "numbers"),
    [
        ({"at": "request_headers"}, "before", []),
        ({"at": "request_body", "bytes": 100_000}, "before", []),
        ({"at": "before_answer"}, "before", []),
        ({"at": "before_answer"}, "after", [2]),
        ({"at": "answer_body", "bytes": 20}, "after", [2]),
    ],
)
async def test_a_broken_connection(
    standin: StandIn, bot: Asker, at: dict[str, Any], phase: str, numbers: list[int], how: str
) -> None:
    order(standin, "sendDocument", {"kind": "reset", **at, "phase": phase, "how": how})
    with pytest.raises(LOST):
        await upload(bot)
    assert stored(standin) == numbers
    assert list((standin.folder / "incoming").iterdir()) == []
    assert (await upload(bot)).status_code == 200


async def test_a_reset_is_a_reset_and_a_fin_is_an_end(standin: StandIn) -> None:
    host, port = standin.url.removeprefix("http://").split(":")
    for how in ("rst", "fin"):
        order(standin, "getMe", {"kind": "reset", "how": how})
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /bot{BOT_A}/getMe HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(5):
            if how == "rst":
                with pytest.raises(ConnectionResetError):
                    await reader.read()
            else:
                assert await reader.read() == b""
        writer.transport.abort()


async def test_a_reset_upload_as_an_oversize_one_is_seen(standin: StandIn, bot: Asker) -> None:
    order(standin, "sendDocument", {"kind": "http413", "form": "reset"})
    with pytest.raises(LOST):
        await upload(bot)
    assert stored(standin) == []


@pytest.mark.parametrize(("phase", "numbers"), [("before", []), ("after", [2])])
async def test_an_answer_that_never_comes(standin: StandIn, bot: Asker, phase: str, numbers: list[int]) -> None:
    order(standin, "sendDocument", {"kind": "hang", "phase": phase})
    with pytest.raises(httpx.ReadTimeout):
        await bot.http.post(
            f"{standin.url}/bot{BOT_A}/sendDocument",
            data={"chat_id": CHANNEL},
            files={"document": ("a.bin", CONTENT)},
            timeout=0.2,
        )
    await until(lambda: standin.control.log()[-1]["outcome"] == "reset")
    assert stored(standin) == numbers


@pytest.mark.parametrize("phase", ["before", "after"])
async def test_an_answer_that_comes_late(standin: StandIn, bot: Asker, phase: str) -> None:
    order(standin, "sendDocument", {"kind": "hang", "seconds": 0.05, "phase": phase})
    started = asyncio.get_running_loop().time()
    assert (await upload(bot)).status_code == 200
    assert asyncio.get_running_loop().time() - started >= 0.05
    assert stored(standin) == [2]


async def test_a_slow_download_and_a_slow_upload(standin: StandIn, bot: Asker) -> None:
    order(standin, "sendDocument", {"kind": "slow", "direction": "upload", "bytes_per_s": 3_000_000})
    started = asyncio.get_running_loop().time()
    message = (await upload(bot)).json()["result"]
    assert asyncio.get_running_loop().time() - started >= 0.1
    path = await bot.file_path(message)
    order(standin, "download", {"kind": "slow", "bytes_per_s": 3_000_000})
    started = asyncio.get_running_loop().time()
    assert (await bot.download(path)).content == CONTENT
    assert asyncio.get_running_loop().time() - started >= 0.09


async def test_a_download_cut_short(standin: StandIn, bot: Asker) -> None:
    path = await bot.file_path(await bot.send(CONTENT))
    order(standin, "download", {"kind": "truncate", "bytes": 1000})
    with pytest.raises(httpx.RemoteProtocolError):
        await bot.download(path)
    order(standin, "download", {"kind": "truncate", "bytes": 1000, "honest_length": True})
    answer = await bot.download(path)
    assert answer.headers["content-length"] == "1000"
    assert answer.content == CONTENT[:1000]
    order(standin, "download", {"kind": "reset", "at": "answer_body", "bytes": 1000})
    with pytest.raises(LOST):
        await bot.download(path)


async def test_an_empty_download_and_a_corrupt_one(standin: StandIn, bot: Asker) -> None:
    path = await bot.file_path(await bot.send(CONTENT))
    order(standin, "download", "empty200")
    answer = await bot.download(path)
    assert (answer.status_code, answer.headers["content-length"]) == (200, "0")
    order(standin, "download", {"kind": "corrupt", "offset": 5000, "count": 3})
    corrupt = (await bot.download(path)).content
    assert len(corrupt) == len(CONTENT)
    assert [position for position in range(len(CONTENT)) if corrupt[position] != CONTENT[position]] == [
        5000,
        5001,
        5002,
    ]
    assert (await bot.download(path)).content == CONTENT


async def test_fields_that_are_left_out(standin: StandIn, bot: Asker) -> None:
    order(standin, "sendDocument", {"kind": "drop_field", "path": "document.file_size"})
    order(standin, "sendDocument", {"kind": "drop_field", "path": "message_id", "value": 0})
    assert "file_size" not in (await upload(bot)).json()["result"]["document"]
    assert (await upload(bot)).json()["result"]["message_id"] == 0
    assert stored(standin) == [2, 3]


@pytest.mark.parametrize("kind", ["animation", "video", "audio", "voice", "sticker"])
async def test_another_type_despite_the_flag(standin: StandIn, bot: Asker, kind: str) -> None:
    order(standin, "sendDocument", {"kind": "as_type", "type": kind})
    message = await bot.send(CONTENT)
    assert message[kind]["file_size"] == len(CONTENT)
    assert ("document" in message) == (kind == "animation")
    file = await bot.result("getFile", file_id=message[kind]["file_id"])
    assert (await bot.download(file["file_path"])).content == CONTENT


async def test_another_type_with_other_bytes(standin: StandIn, bot: Asker) -> None:
    order(standin, "sendDocument", {"kind": "as_type", "type": "animation", "replace_bytes": True})
    message = await bot.send(CONTENT)
    assert message["document"]["file_size"] != len(CONTENT)


async def test_get_file_that_fails_for_a_while_or_for_good(standin: StandIn, bot: Asker) -> None:
    message = await bot.send(CONTENT)
    file_id = message["document"]["file_id"]
    invalid = (400, "Bad Request: invalid file_id")
    order(standin, "getFile", "unavailable")
    assert (await bot.refused("getFile", file_id=file_id))[1].endswith("temporarily unavailable")
    order(standin, "getFile", "invalid_file_id")
    assert await bot.refused("getFile", file_id=file_id) == invalid
    await bot.file_path(message)
    order(standin, "getFile", {"kind": "invalid_file_id", "permanent": True})
    for _ in range(2):
        assert await bot.refused("getFile", file_id=file_id) == invalid
    forwarded = await bot.result("forwardMessage", chat_id=PRIVATE, from_chat_id=CHANNEL, message_id=2)
    assert (await bot.download(await bot.file_path(forwarded))).content == CONTENT


async def test_paths_that_expire_or_come_too_soon(standin: StandIn, bot: Asker) -> None:
    message = await bot.send(CONTENT)
    old = await bot.file_path(message)
    order(standin, "download", "expire_paths")
    assert (await bot.download(old)).status_code == 404
    order(standin, "getFile", {"kind": "path404", "times": 2})
    fresh = await bot.file_path(message)
    assert fresh != old
    assert [(await bot.download(fresh)).status_code for _ in range(3)] == [404, 404, 200]
    order(standin, "download", "path404")
    assert [(await bot.download(fresh)).status_code for _ in range(2)] == [404, 200]


async def test_the_file_host_alone_may_say_unauthorized_for_ever(standin: StandIn, bot: Asker) -> None:
    path = await bot.file_path(await bot.send(CONTENT))
    order(standin, "download", "unauthorized", times=None)
    assert [(await bot.download(path)).status_code for _ in range(3)] == [401] * 3
    await bot.result("getMe")
    standin.control.clear_faults()
    assert (await bot.download(path)).status_code == 200


async def test_kicked_in_the_middle_and_let_in_again(standin: StandIn, bot: Asker) -> None:
    order(standin, "sendDocument", "kick", match={"nth": 2})
    await bot.send()
    for _ in range(2):
        assert (await upload(bot)).json()["description"] == "Forbidden: bot was kicked from the channel chat"
    order(standin, "getChat", "unkick")
    await bot.result("getChat", chat_id=CHANNEL)
    await bot.send()


async def test_a_group_that_migrates_in_the_middle(standin: StandIn, bot: Asker) -> None:
    order(standin, "sendDocument", {"kind": "migrate", "new_id": -1003}, match={"chat_id": GROUP})
    answer = (await upload(bot, GROUP)).json()
    assert answer["parameters"] == {"migrate_to_chat_id": -1003}
    assert (await bot.send(chat_id=-1003))["message_id"] == 2


async def test_a_message_that_a_person_deletes(standin: StandIn, bot: Asker) -> None:
    await bot.send()
    order(standin, "forwardMessage", {"kind": "delete_message", "chat_id": CHANNEL, "message_id": 2})
    take: dict[str, Any] = {"chat_id": PRIVATE, "from_chat_id": CHANNEL, "message_id": 2}
    assert (await bot.refused("forwardMessage", **take))[1] == "Bad Request: message to forward not found"


async def test_stored_twice_answered_once(standin: StandIn, bot: Asker) -> None:
    order(standin, "sendDocument", "duplicate")
    message = await bot.send(CONTENT)
    assert message["message_id"] == 2
    assert stored(standin) == [2, 3]
    assert list((standin.folder / "incoming").iterdir()) == []
    assert (await bot.download(await bot.file_path(message))).content == CONTENT


async def test_an_upload_overtaken_by_a_later_one(standin: StandIn, bot: Asker) -> None:
    order(standin, "sendDocument", {"kind": "reorder", "wait_s": 5})
    first = asyncio.create_task(bot.send(b"first"))
    await until(lambda: any(entry["fault"] == "reorder" for entry in standin.control.log()))
    second = await bot.send(b"second")
    assert (second["message_id"], (await first)["message_id"]) == (2, 3)


async def test_an_upload_that_nothing_overtakes_goes_on(standin: StandIn, bot: Asker) -> None:
    order(standin, "sendDocument", {"kind": "reorder", "wait_s": 0.01})
    assert (await bot.send())["message_id"] == 2


async def test_a_conflict(standin: StandIn, bot: Asker) -> None:
    order(standin, "getUpdates", "conflict")
    assert (await bot.refused("getUpdates"))[0] == 409


async def test_a_rule_may_ask_for_a_size_and_a_chat(standin: StandIn, bot: Asker) -> None:
    order(standin, "sendDocument", "empty200", match={"min_bytes": 100_000, "chat_id": CHANNEL}, times=None)
    await bot.send(b"small")
    await bot.send(CONTENT, chat_id=PRIVATE)
    assert (await upload(bot)).content == b""


async def test_the_log_tells_what_happened_and_no_token(standin: StandIn, bot: Asker) -> None:
    order(standin, "sendDocument", {"kind": "http", "phase": "after"})
    await upload(bot)
    (entry,) = standin.control.log()
    assert entry["method"] == "senddocument"
    assert entry["arguments"] == {"chat_id": str(CHANNEL)}
    assert (entry["files"][0]["size"], entry["files"][0]["file_name"]) == (len(CONTENT), "a.bin")
    assert (entry["status"], entry["fault"], entry["executed"], entry["outcome"]) == (502, "http", 1, "answered")
    secret = BOT_A.partition(":")[2]
    assert secret not in str(standin.control.log())
    assert secret not in str(standin.control.state())


async def test_the_log_of_a_download(standin: StandIn, bot: Asker) -> None:
    path = await bot.file_path(await bot.send(CONTENT))
    await bot.download(path, range="bytes=0-9")
    entry = standin.control.log()[-1]
    assert (entry["method"], entry["status"], entry["sent_bytes"]) == ("download", 200, len(CONTENT))
    assert entry["arguments"] == {"file_path": path, "range": "bytes=0-9"}


class TestRealDelay:
    @pytest.fixture
    def switches(self) -> Switches:
        return Switches(throttle_delay="real", rate_limits="off")

    async def test_an_upload_of_a_size_that_was_sent_before_waits(self, bot: Asker) -> None:
        await upload(bot)
        for _ in range(5):
            await upload(bot)
        started = asyncio.get_running_loop().time()
        await upload(bot)
        assert asyncio.get_running_loop().time() - started >= 0.1
