"""Bodies that are not what was promised change nothing (attacks 9, 14 to 16, 21), and are refused as early as can be."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import random
import re
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from addon.store.layout import extent_bytes_max
from addon.telegram.documents import DOCUMENT_BYTES_MAX
from tests.service.product import HOST, IMAGES, USER, Answer, Product, eventually, target_of
from tests.service.signing import (
    SIGNED_CHUNKS,
    SIGNED_CHUNKS_TRAILER,
    UNSIGNED,
    UNSIGNED_CHUNKS_TRAILER,
    Headers,
    Signed,
    aws_chunked,
    sign,
)
from tests.service.wire import wire_to

EXTENT = extent_bytes_max(DOCUMENT_BYTES_MAX)
OLD = b"the object that was there before"
PIECES = [b"a" * 9000, b"b" * 9000, b"c" * 100]
BODY = b"".join(PIECES)
CRC32 = base64.b64encode(bytes.fromhex("00000000")).decode()
TARGET = target_of(IMAGES, "k")


def crc32(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


@pytest.fixture
async def written(product: Product) -> Product:
    """The product with an object under `k`."""
    assert (await product.send("PUT", "k", body=OLD)).status_code == 200
    return product


async def assert_nothing_changed(product: Product, *, sends: int = 1) -> None:
    """The former object is there, nothing else is, and nothing is left on disk or unknown in Telegram."""
    got = await product.send("GET", "k")
    assert (got.status_code, got.content) == (200, OLD)
    assert (await product.index.counts(IMAGES))["objects"] == 1
    await eventually(lambda: product.spooled() == [])
    assert len(product.documents_in_telegram()) == sends
    assert len(await product.garbage()) == sends - 1
    assert product.origin.requests == []


def streamed(payload: str, *, length: int = len(BODY), trailers: Headers = ()) -> Signed:
    headers = [("x-amz-decoded-content-length", str(length)), ("content-encoding", "aws-chunked")]
    if trailers:
        headers.append(("x-amz-trailer", ",".join(name for name, _ in trailers)))
    return sign(USER, "PUT", TARGET, HOST, headers, payload=payload)


FORMS: dict[str, Literal["signed", "signed-trailer", "unsigned-trailer"]] = {
    SIGNED_CHUNKS: "signed",
    SIGNED_CHUNKS_TRAILER: "signed-trailer",
    UNSIGNED_CHUNKS_TRAILER: "unsigned-trailer",
}


def frames(payload: str, *, length: int = len(BODY), trailer: str = "") -> tuple[Signed, list[bytes]]:
    trailers = [("x-amz-checksum-crc32", trailer or crc32(BODY))] if payload.endswith("TRAILER") else []
    signed = streamed(payload, length=length, trailers=trailers)
    return signed, aws_chunked(signed, PIECES, form=FORMS[payload], trailers=trailers)


async def put(product: Product, signed: Signed, body: bytes) -> Answer:
    return await product.send_as_is("PUT", TARGET, signed.headers, body)


async def test_a_streamed_body_that_was_tampered_with_changes_nothing(written: Product) -> None:
    """Attack 14. Each tampering starts from frames that would be taken: a control shows it."""
    for payload in FORMS:
        signed, whole = frames(payload)
        cases = {
            "a chunk's data": [whole[0].replace(b"aaaa", b"aaab", 1), *whole[1:]],
            "reordered": [whole[1], whole[0], *whole[2:]],
            "dropped": [whole[0], *whole[2:]],
            "repeated": [whole[0], *whole],
            "no last chunk": whole[:3],
            "no end": whole[:4],
            "cut off in data": [whole[0][:5000]],
            "bytes behind the end": [*whole, b"more"],
            "another request behind the end": [*whole, b"GET /images/k HTTP/1.1\r\n\r\n"],
            "data after the last chunk": [*whole[:4], whole[0], *whole[4:]],
            "no frames at all": [BODY],
            "empty": [],
        }
        if FORMS[payload] != "unsigned-trailer":
            cases |= {
                "first signature": [flipped(whole[0]), *whole[1:]],
                "last signature": [*whole[:3], flipped(whole[3]), *whole[4:]],
                "signatures left out": [unsigned(frame) for frame in whole],
            }
        if payload.endswith("TRAILER"):
            cases |= {
                "trailer altered": [*whole[:4], whole[4].replace(crc32(BODY).encode(), CRC32.encode())],
                "trailer left out": [*whole[:4], b"\r\n"],
                "undeclared trailer": [*whole[:4], b"x-amz-meta-a:b\r\n" + whole[4]],
                "trailer twice": [*whole[:4], whole[4].split(b"\r\n")[0] + b"\r\n" + whole[4]],
            }
        if payload == SIGNED_CHUNKS_TRAILER:
            cases["trailer signature left out"] = [*whole[:4], whole[4].split(b"\r\n")[0] + b"\r\n\r\n"]
        for name, tampered in cases.items():
            refused = await put(written, signed, b"".join(tampered))
            assert 400 <= refused.status_code < 500, (payload, name, refused.status_code)
            assert refused.code, (payload, name, refused.text)
    await assert_nothing_changed(written)
    signed, whole = frames(SIGNED_CHUNKS_TRAILER)
    assert (await put(written, signed, b"".join(whole))).status_code == 200, "untouched frames are taken"


def flipped(frame: bytes) -> bytes:
    """The same frame with another signature."""
    line, rest = frame.split(b"\r\n", 1)
    return line[:-1] + (b"0" if line[-1:] != b"0" else b"1") + b"\r\n" + rest


def unsigned(frame: bytes) -> bytes:
    line, rest = frame.split(b"\r\n", 1)
    return line.split(b";")[0] + b"\r\n" + rest


async def test_chunk_lines_that_mean_no_size_are_refused(written: Product) -> None:
    """Attack 15."""
    trailers = [("x-amz-checksum-crc32", crc32(BODY))]
    for line in (
        b"-1", b"0x10", b"+5", b" 5", b"FFFFFFFFFFFFFFFF", b"10000000000000000", b"0" * (1 << 20) + b"5", b"",
        b"5;" + b"e" * (1 << 20), b"5;chunk-signature=" + b"0" * 64, b"\n", b"5\n", b"g", b"5 ", "５".encode(),
    ):  # fmt: skip
        signed = streamed(UNSIGNED_CHUNKS_TRAILER, length=5, trailers=trailers)
        refused = await put(written, signed, line + b"\r\nhello\r\n0\r\n\r\n")
        assert (refused.status_code, refused.code) == (400, "IncompleteBody"), line[:30]
    await assert_nothing_changed(written)


@pytest.mark.parametrize("payload", [SIGNED_CHUNKS, SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER])
async def test_a_stream_whose_length_nobody_knows(written: Product, payload: str) -> None:
    """Framed twice: aws-chunked within `Transfer-Encoding: chunked`, and no length anywhere."""
    trailers = [("x-amz-checksum-crc32", crc32(BODY))] if payload.endswith("TRAILER") else []
    named = [("x-amz-trailer", name) for name, _ in trailers]

    def whole(signed: Signed) -> list[bytes]:
        return aws_chunked(signed, PIECES, form=FORMS[payload], trailers=trailers)

    async def stream(pieces: list[bytes]) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    framing = [("transfer-encoding", "chunked")]
    signed = sign(USER, "PUT", TARGET, HOST, [("content-encoding", "aws-chunked"), *named], payload=payload)
    refused = await written.send_as_is("PUT", TARGET, [*signed.headers, *framing], stream(whole(signed)[:-1]))
    assert (refused.status_code, refused.code) == (400, "IncompleteBody")
    await assert_nothing_changed(written)
    stored = await written.send_as_is("PUT", TARGET, [*signed.headers, *framing], stream(whole(signed)))
    assert stored.status_code == 200, stored.text
    assert (await written.send("GET", "k")).content == BODY


async def test_lengths_that_do_not_agree_are_refused(written: Product) -> None:
    """Attack 16."""
    for length, code in ((len(BODY) - 1, "IncompleteBody"), (len(BODY) + 1, "IncompleteBody"), (0, "IncompleteBody")):
        signed, whole = frames(SIGNED_CHUNKS, length=length)
        refused = await put(written, signed, b"".join(whole))
        assert (refused.status_code, refused.code) == (400, code)
    for value in ("-1", "+5", "1e3", "0x10", "", "9" * 30, "५"):
        headers = [("x-amz-decoded-content-length", value.encode().decode("latin-1"))]
        signed = sign(USER, "PUT", TARGET, HOST, headers, payload=SIGNED_CHUNKS)
        refused = await put(written, signed, b"".join(aws_chunked(signed, PIECES, form="signed")))
        assert refused.status_code == 400, value
    signed = sign(USER, "PUT", TARGET, HOST, payload=SIGNED_CHUNKS)
    refused = await put(written, signed, b"".join(aws_chunked(signed, PIECES, form="signed")))
    assert (refused.status_code, refused.code) == (411, "MissingContentLength")
    twice = [("x-amz-decoded-content-length", "5"), ("x-amz-decoded-content-length", "18100")]
    signed = sign(USER, "PUT", TARGET, HOST, twice, payload=SIGNED_CHUNKS)
    assert (await put(written, signed, b"".join(aws_chunked(signed, PIECES, form="signed")))).status_code == 400
    await assert_nothing_changed(written)


async def test_another_body_than_the_signed_one_is_refused(written: Product) -> None:
    """Attack 9."""
    signed = sign(USER, "PUT", TARGET, HOST, payload=hashlib.sha256(b"one").hexdigest())
    refused = await put(written, signed, b"two")
    assert (refused.status_code, refused.code) == (400, "XAmzContentSHA256Mismatch")
    for other in (UNSIGNED, hashlib.sha256(b"two").hexdigest()):
        swapped = [(name, other if name == "x-amz-content-sha256" else value) for name, value in signed.headers]
        refused = await written.send_as_is("PUT", TARGET, swapped, b"two")
        assert (refused.status_code, refused.code) == (403, "SignatureDoesNotMatch")
    await assert_nothing_changed(written)


async def test_a_large_overwrite_whose_last_byte_is_wrong_leaves_known_garbage_only(written: Product) -> None:
    body = random.Random(1).randbytes(EXTENT + 600_000)
    length = [("content-length", str(len(body)))]
    signed = sign(USER, "PUT", TARGET, HOST, length, payload=hashlib.sha256(body).hexdigest())

    async def pieces() -> AsyncIterator[bytes]:
        yield body[:-1]
        await eventually(lambda: grown(written, 1))
        yield bytes([body[-1] ^ 1])

    refused = await written.send_as_is("PUT", TARGET, signed.headers, pieces())
    assert refused.code == "XAmzContentSHA256Mismatch"
    await assert_nothing_changed(written, sends=2)


@pytest.mark.parametrize("sent", [1, 5_000, EXTENT + 300_000])
async def test_a_client_that_leaves_in_mid_body_changes_nothing(written: Product, sent: int) -> None:
    for framing in ("content-length", "chunked"):
        before = len(written.documents_in_telegram())
        length = [("content-length", str(2 * EXTENT))] if framing == "content-length" else []
        signed = sign(USER, "PUT", TARGET, HOST, length)
        async with wire_to(written.address) as wire:
            chunked = [("transfer-encoding", "chunked")] if framing == "chunked" else []
            await wire.head("PUT", TARGET, [*signed.headers, *chunked])
            body = bytes(sent)
            await wire.send(f"{len(body):x}\r\n".encode() + body + b"\r\n" if framing == "chunked" else body)
            if sent > EXTENT:
                await eventually(lambda before=before: grown(written, before))
            wire.reset()
        await eventually(lambda: written.spooled() == [])
        await eventually(lambda: written.upload_slots.taken == 0)
    await eventually(lambda: settled(written))
    await assert_nothing_changed(written, sends=len(written.documents_in_telegram()))


async def grown(product: Product, before: int) -> bool:
    """Another document was sent, and is recorded as garbage as long as no object uses it."""
    return len(product.documents_in_telegram()) > before and await settled(product)


async def settled(product: Product) -> bool:
    return len(await product.garbage()) == len(product.documents_in_telegram()) - 1


async def test_a_client_that_stops_sending_is_given_up(written: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("addon.service.request.BODY_IDLE_S_MAX", 0.2)
    signed = sign(USER, "PUT", TARGET, HOST, [("content-length", "100")])
    async with wire_to(written.address) as wire:
        await wire.head("PUT", TARGET, signed.headers)
        await wire.send(b"x" * 50)
        status, body = await wire.answer()
    assert (status, b"RequestTimeout" in body) == (400, True)
    await assert_nothing_changed(written)


TOO_LARGE = str((5 << 30) + 1)


async def test_declared_lengths_that_are_too_large_are_refused_before_the_body(written: Product) -> None:
    for headers, payload in (
        ([("content-length", TOO_LARGE)], UNSIGNED),
        ([("content-length", TOO_LARGE)], hashlib.sha256(b"").hexdigest()),
        ([("content-length", "100"), ("x-amz-decoded-content-length", TOO_LARGE)], SIGNED_CHUNKS),
        ([("content-length", "99999999999999999999")], UNSIGNED),
    ):
        for expect in ([], [("expect", "100-continue")]):
            signed = sign(USER, "PUT", TARGET, HOST, headers, payload=payload)
            async with wire_to(written.address) as wire:
                await wire.head("PUT", TARGET, [*signed.headers, *expect])
                status, body = await wire.answer()
            assert status == 400
            assert b"EntityTooLarge" in body or headers[0][1].startswith("9999")
    await assert_nothing_changed(written)


async def test_a_refusal_comes_instead_of_the_invitation_to_send(written: Product) -> None:
    """Attack 21."""
    good = sign(USER, "PUT", TARGET, HOST, [("content-length", "3")])
    bad = [(name, re.sub("Signature=.{4}", "Signature=0000", value)) for name, value in good.headers]
    not_done = sign(
        USER, "PUT", TARGET, HOST, [("content-length", "3"), ("x-amz-object-lock-mode", "GOVERNANCE")]
    ).headers
    nobody = [("host", HOST), ("content-length", "3")]
    for headers, expected in ((bad, 403), (not_done, 501), (nobody, 403)):
        async with wire_to(written.address) as wire:
            await wire.head("PUT", TARGET, [*headers, ("expect", "100-continue")])
            assert (await wire.answer())[0] == expected
    async with wire_to(written.address) as wire:
        await wire.head("PUT", target_of(IMAGES, "k"), [*good.headers, ("expect", "100-continue")])
        assert (await wire.answer())[0] == 100
        await wire.send(OLD[:3])
        assert (await wire.answer())[0] == 200


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_an_unauthenticated_body_is_never_kept(written: Product) -> None:
    """200 MB to a wrong signature: the answer is there long before, and neither disk nor memory has any of it."""
    size, piece = 200_000_000, bytes(1 << 20)
    signed = sign(USER, "PUT", TARGET, HOST, [("content-length", str(size))])
    headers = [(name, value[:-4] + "0000" if name == "authorization" else value) for name, value in signed.headers]
    before = resident_bytes()
    peak = 0
    async with wire_to(written.address) as wire:
        await wire.head("PUT", TARGET, headers)
        for start in range(0, size, len(piece)):
            await wire.send(piece[: size - start])
            assert written.spooled() == []
            peak = max(peak, resident_bytes() - before)
        status, body = await wire.answer()
        assert (status, b"SignatureDoesNotMatch" in body) == (403, True)
    assert peak < 32 << 20
    await assert_nothing_changed(written)


async def test_a_verified_upload_is_held_in_bounded_memory(written: Product) -> None:
    size = 90_000_000

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal peak
        for start in range(0, size, 1 << 20):
            yield bytes(min(1 << 20, size - start))
            peak = max(peak, resident_bytes() - before)
            await asyncio.sleep(0)

    before, peak = resident_bytes(), 0
    signed = sign(USER, "PUT", TARGET, HOST, [("content-length", str(size))])
    assert (await written.send_as_is("PUT", TARGET, signed.headers, pieces())).status_code == 200
    assert peak < 64 << 20
    assert sum(path.stat().st_size for path in written.spooled()) == 0
