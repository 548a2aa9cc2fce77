"""404 against 403 for a key that is not there: as the origin would say it, asked seldom."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from addon.s3.address import origin_address
from addon.s3.operations import Operation, Target
from addon.s3.payload import Payload, PayloadKind
from addon.service.authorize import Call
from addon.service.buckets import Bucket
from addon.service.missing import MISSING_ANSWER_S, MISSING_RETRY_S, MissingAnswers
from addon.service.request import S3Request
from addon.sigv4 import Verified
from tests.origin.raw_server import RawServer, Received, answer, origin_at, raw_server
from tests.service.product import ALONE, IMAGES, OPEN, USER, Answer, Product, running_product
from tests.service.signing import Key


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def nothing() -> dict[str, object]:
    return {}


def call(*, anonymous: bool = False, anonymous_read: bool = False, has_origin: bool = True) -> Call:
    bucket = Bucket(
        name="images",
        hosts=frozenset({"images.test"}),
        path_hosts=frozenset(),
        anonymous_read=anonymous_read,
        reject_unknown_keys=False,
        credentials={},
        origin=origin_address("http://127.0.0.1:1", "bucket", "path") if has_origin else None,
        origin_bucket="bucket",
    )
    request = S3Request("R", "GET", "/k", "", [], nothing)
    payload = Payload(PayloadKind.UNSIGNED, PayloadKind.UNSIGNED.value)
    verified = None if anonymous else Verified("AKTEST", payload, False, frozenset({"host"}), None)
    return Call(request, bucket, Target("images", "k", "k", Operation.GET_OBJECT), verified, [])


class Origin:
    """Answers signed and anonymous requests with a status each; None closes the connection."""

    def __init__(self, signed: int | None, anonymous: int | None) -> None:
        self.signed, self.anonymous = signed, anonymous
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()

    async def __call__(self, received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached.set()
        await self.go.wait()
        status = self.signed if any(name == "authorization" for name, _ in received.headers) else self.anonymous
        if status is None:
            writer.close()
            return
        writer.write(answer(status))


async def code(missing: MissingAnswers, asked: Call) -> str:
    error = await missing.refusal(asked)
    assert error.details == ({"Key": "k"} if error.code == "NoSuchKey" else {})
    return error.code


@pytest.mark.parametrize(
    ("signed", "anonymous", "to_verified", "to_strangers"),
    [
        (404, 403, "NoSuchKey", "AccessDenied"),
        (403, 403, "AccessDenied", "AccessDenied"),
        (404, 404, "NoSuchKey", "NoSuchKey"),
        (403, 404, "AccessDenied", "NoSuchKey"),
        (500, 503, "NoSuchKey", "AccessDenied"),
        (None, None, "NoSuchKey", "AccessDenied"),
        (200, 200, "NoSuchKey", "AccessDenied"),
    ],
)
async def test_the_origin_decides_and_where_it_says_nothing_s3_does(
    signed: int | None, anonymous: int | None, to_verified: str, to_strangers: str
) -> None:
    async with raw_server(Origin(signed, anonymous)) as server, origin_at(server.port) as origin:
        missing = MissingAnswers({"images": origin})
        assert await code(missing, call()) == to_verified
        assert await code(missing, call(anonymous=True)) == to_strangers


async def test_without_an_origin_the_settings_decide() -> None:
    missing = MissingAnswers({"images": None})
    assert await code(missing, call(has_origin=False)) == "NoSuchKey"
    assert await code(missing, call(anonymous=True, has_origin=False)) == "AccessDenied"
    assert await code(missing, call(anonymous=True, anonymous_read=True, has_origin=False)) == "NoSuchKey"


async def test_the_origin_is_asked_about_another_key_each_time_and_seldom() -> None:
    clock = Clock()
    async with raw_server(Origin(404, 403)) as server, origin_at(server.port) as origin:
        missing = MissingAnswers({"images": origin}, now_s=clock)
        for _ in range(3):
            await missing.refusal(call())
            await missing.refusal(call(anonymous=True))
        assert methods(server) == ["HEAD", "HEAD"]
        clock.now_s += MISSING_ANSWER_S
        await missing.refusal(call())
        targets = [received.target for received in server.received]
        assert len(set(targets)) == 3
        assert all(len(target) >= len(b"/bucket/") + 32 for target in targets)


async def test_many_at_once_ask_once() -> None:
    there = Origin(403, 403)
    there.go.clear()
    async with raw_server(there) as server, origin_at(server.port) as origin:
        missing = MissingAnswers({"images": origin})
        waiting = [asyncio.create_task(code(missing, call())) for _ in range(20)]
        async with asyncio.timeout(10):
            await there.reached.wait()
            there.go.set()
            assert set(await asyncio.gather(*waiting)) == {"AccessDenied"}
        assert methods(server) == ["HEAD"]


async def test_the_last_known_answer_stands_while_the_origin_is_away() -> None:
    clock, there = Clock(), Origin(403, 404)
    async with raw_server(there) as server, origin_at(server.port) as origin:
        missing = MissingAnswers({"images": origin}, now_s=clock)
        assert await code(missing, call()) == "AccessDenied"
        there.signed = None
        clock.now_s += MISSING_ANSWER_S
        assert await code(missing, call()) == "AccessDenied"
        asked = len(server.received)
        assert await code(missing, call()) == "AccessDenied"
        assert len(server.received) == asked, "it is left in peace for a while"
        there.signed = 404
        clock.now_s += MISSING_RETRY_S
        assert await code(missing, call()) == "NoSuchKey"


async def test_nobody_waits_long_for_an_origin_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("addon.service.missing.MISSING_WAIT_S_MAX", 0.05)
    there = Origin(403, 403)
    there.go.clear()
    async with raw_server(there) as server, origin_at(server.port) as origin:
        async with asyncio.timeout(10):
            assert await code(MissingAnswers({"images": origin}), call()) == "NoSuchKey"
        there.go.set()


def shape(answer: Answer) -> tuple[int, list[str], str]:
    """All of an answer but what differs with each request."""
    text = re.sub(r"<(RequestId|Resource|Key)>[^<]*<", r"<\1><", answer.text)
    return answer.status_code, sorted(answer.headers), text


async def ask(product: Product, key: str, by: Key | None, bucket: str = IMAGES) -> tuple[int, str]:
    """The status and code of a GET; the HEAD has the same status and no body."""
    got = await product.send("GET", key, by=by, bucket=bucket)
    head = await product.send("HEAD", key, by=by, bucket=bucket)
    assert (head.status_code, head.content) == (got.status_code, b"")
    return got.status_code, got.code


@pytest.mark.parametrize(
    ("signed", "anonymous", "to_verified", "to_strangers"),
    [
        (404, 403, (404, "NoSuchKey"), (403, "AccessDenied")),
        (403, 403, (403, "AccessDenied"), (403, "AccessDenied")),
        (404, 404, (404, "NoSuchKey"), (404, "NoSuchKey")),
    ],
)
async def test_a_key_that_was_deleted_here_is_missing_as_the_origin_says_it(
    tmp_path: Path, signed: int, anonymous: int, to_verified: tuple[int, str], to_strangers: tuple[int, str]
) -> None:
    """Migration case 13."""
    async with raw_server(Origin(signed, anonymous)) as server, running_product(tmp_path, server.port) as product:
        assert (await product.send("PUT", "private", body=b"x")).status_code == 200
        assert (await product.send("PUT", "gone", body=b"x")).status_code == 200
        assert (await product.send("DELETE", "gone")).status_code == 204
        for query in ("", "tagging", "acl"):
            assert (await product.send("GET", "gone", query=query)).code == to_verified[1]
        assert await ask(product, "gone", USER) == to_verified
        assert await ask(product, "gone", None) == to_strangers
        refused = await product.send("GET", "private", by=None)
        if to_strangers[0] == 403:
            assert shape(await product.send("GET", "gone", by=None)) == shape(refused)
        if to_verified[0] == 403:
            assert shape(await product.send("GET", "gone")) == shape(refused)


async def test_what_is_nowhere_in_a_bucket_without_origin(product: Product) -> None:
    assert await ask(product, "never", USER, ALONE) == (404, "NoSuchKey")
    assert await ask(product, "never", None, ALONE) == (403, "AccessDenied")


async def test_an_open_bucket_while_the_origin_is_away(product: Product) -> None:
    await product.send("PUT", "gone", body=b"x", bucket=OPEN)
    await product.send("DELETE", "gone", bucket=OPEN)
    product.origin.down = True
    assert await ask(product, "gone", USER, OPEN) == (404, "NoSuchKey")
    assert await ask(product, "gone", None, OPEN) == (404, "NoSuchKey")


def methods(server: RawServer) -> list[str]:
    return [received.method for received in server.received]
