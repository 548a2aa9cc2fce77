"""The loopback port as HTTP: one reading of every byte, whatever a client sends (attacks 18, 21 and 22)."""

from __future__ import annotations

import asyncio

import pytest

from tests.service.product import HOST, IMAGES, USER, Product, eventually, target_of
from tests.service.signing import sign
from tests.service.wire import wire_to

OLD = b"the object that was there before"
TARGET = target_of(IMAGES, "k")


@pytest.fixture
async def written(product: Product) -> Product:
    assert (await product.send("PUT", "k", body=OLD)).status_code == 200
    return product


async def assert_nothing_changed(product: Product) -> None:
    assert (await product.send("GET", "k")).content == OLD
    assert (await product.index.counts(IMAGES))["objects"] == 1
    assert (await product.index.counts(IMAGES))["tombstones"] == 0
    assert product.origin.requests == []


async def test_a_connection_is_good_for_more_after_a_refusal(written: Product) -> None:
    good = sign(USER, "GET", TARGET, HOST).headers
    bad = sign(USER, "PUT", TARGET, HOST, [("content-length", "70000")]).headers[:-1]
    async with wire_to(written.address) as wire:
        for _ in range(3):
            await wire.head("PUT", TARGET, bad)
            await wire.send(bytes(70000))
            assert (await wire.answer())[0] == 403
            await wire.head("GET", TARGET, good)
            assert await wire.answer() == (200, OLD)
    await assert_nothing_changed(written)


async def test_pipelined_requests_are_judged_each_by_itself(written: Product) -> None:
    """The second has no signature, and does not inherit the first one's."""
    good = sign(USER, "GET", TARGET, HOST).headers
    async with wire_to(written.address) as wire:
        await wire.head("GET", TARGET, good)
        await wire.head("DELETE", TARGET, [("host", HOST)])
        await wire.head("GET", TARGET, good)
        assert await wire.answer() == (200, OLD)
        assert (await wire.answer())[0] == 403
        assert await wire.answer() == (200, OLD)
    await assert_nothing_changed(written)


SMUGGLED = b"DELETE /images/k HTTP/1.1\r\nhost: s3.test\r\n\r\n"


FRAMINGS: tuple[list[tuple[str, str]], ...] = (
    [("content-length", "4"), ("transfer-encoding", "chunked")],
    [("transfer-encoding", "chunked"), ("content-length", "4")],
    [("transfer-encoding", "xchunked")],
    [("transfer-encoding", "chunked, identity")],
    [("content-length", "4"), ("content-length", "5")],
    [("content-length", "+4")],
    [("content-length", "-4")],
    [("content-length", "4, 4")],
    [("content-length", "0x4")],
    [("content-length ", "4")],
    [("x-a", "b\r\n folded")],
    [("x-a", "b\0c")],
    [("x-a", "b\nc: d")],
)


async def test_framing_with_two_readings_is_refused(written: Product) -> None:
    """Whatever follows is not executed as a request with the first one's rights, and nothing is stored."""
    signed = sign(USER, "PUT", TARGET, HOST)
    for framing in FRAMINGS:
        async with wire_to(written.address) as wire:
            await wire.head("PUT", TARGET, [*signed.headers, *framing])
            await wire.send(b"0\r\n\r\n" + SMUGGLED)
            status, _ = await wire.answer()
            assert 400 <= status < 600, framing
        await assert_nothing_changed(written)


async def test_a_write_whose_length_nobody_declared_is_refused(written: Product) -> None:
    """Else it would replace the object by nothing."""
    async with wire_to(written.address) as wire:
        await wire.head("PUT", TARGET, sign(USER, "PUT", TARGET, HOST).headers)
        status, body = await wire.answer()
        assert (status, b"MissingContentLength" in body) == (411, True)
    await assert_nothing_changed(written)
    async with wire_to(written.address) as wire:
        chunked = [("transfer-encoding", "chunked")]
        await wire.head("PUT", TARGET, [*sign(USER, "PUT", TARGET, HOST).headers, *chunked])
        await wire.send(b"3\r\nnew\r\n0\r\n\r\n")
        assert (await wire.answer())[0] == 200
    assert (await written.send("GET", "k")).content == b"new"


async def test_large_heads_are_answered_in_bounded_time(written: Product) -> None:
    """Attack 22."""
    for headers in (
        [("x-amz-meta-a", "b" * 3000)],
        [(f"x-amz-meta-{number}", "b") for number in range(3000)],
        [("cache-control", "x" * 20_000)],
    ):
        async with asyncio.timeout(5):
            refused = await written.send("PUT", "k", headers=headers, body=b"new")
        assert 400 <= refused.status_code < 500
    query = "&".join(f"a{number}=" for number in range(20_000))
    async with asyncio.timeout(5):
        refused = await written.send("PUT", "k", query=query, body=b"new")
    assert 400 <= refused.status_code < 500
    await assert_nothing_changed(written)


async def test_slow_clients_do_not_keep_others_waiting(written: Product) -> None:
    """Attack 17: clients who have announced a body, and trickle."""
    async with asyncio.TaskGroup() as group:
        stop = asyncio.Event()

        async def trickle() -> None:
            headers = [("content-length", "1000")]
            async with wire_to(written.address) as wire:
                await wire.head("PUT", TARGET, sign(USER, "PUT", TARGET, HOST, headers).headers)
                await wire.send(b"x")
                await stop.wait()
                wire.reset()

        for _ in range(60):
            group.create_task(trickle())
        await eventually(lambda: written.upload_slots.taken == 60)
        assert (await written.send("GET", "k")).content == OLD
        assert (await written.send("PUT", "other", body=b"new")).status_code == 200
        assert (await written.send("DELETE", "other")).status_code == 204
        stop.set()
    await eventually(lambda: written.upload_slots.taken == 0)
    assert (await written.send("GET", "k")).content == OLD
