"""What moved is compared with the origin: every difference is found, nothing is changed unasked, and races are none."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from addon.store.migration import Verification
from addon.store.origin_head import head_at_origin
from addon.store.ports import Origin
from addon.store.records import CopyState, ObjectRecord, Provenance
from addon.store.retrying import Retries
from addon.store.verifier import Finding, Outcome, Tally, Verifier, VerifyOrder
from tests.origin.raw_server import Received, answer, origin_at, raw_server
from tests.service.fixtures import OriginServer
from tests.service.product import IMAGES, WRONG_BYTES, Product, eventually
from tests.store.command_store import command_store
from tests.store.test_origin_upload import in_parts

BODY = random.Random(1).randbytes(50_000)


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


QUICK = Retries(attempts_max=4, sleep=no_pause)


@dataclass
class Run:
    """One verification and what it told."""

    tally: Tally
    findings: list[Finding] = field(default_factory=list)

    def of(self, outcome: Outcome) -> dict[str, list[str]]:
        """Keys that came to this end, with what differs."""
        return {
            finding.record.key: [difference.what for difference in finding.differences]
            for finding in self.findings
            if finding.outcome is outcome
        }

    @property
    def differs(self) -> dict[str, list[str]]:
        return self.of(Outcome.DIFFERS)


def verifier(product: Product, *, origin: Origin | str | None = "its own", **order: Any) -> Verifier:
    store = command_store(product)
    chosen = store._origins[IMAGES] if isinstance(origin, str) else origin
    return Verifier(store, store.index, chosen, VerifyOrder(IMAGES, **order), random.Random(1), QUICK)  # type: ignore[arg-type]


async def verified(product: Product, **order: Any) -> Run:
    found: list[Finding] = []
    tally = await verifier(product, **order).run(found.append)
    return Run(tally, found)


async def moved(product: Product, origin_server: OriginServer, *keys: str, **more: Any) -> None:
    """Objects at the origin, and their copies here."""
    for key in keys:
        origin_server.put(key, BODY + key.encode(), **more)
        assert (await product.send("GET", key)).status_code == 200
        await product.copied(key)


async def unverified(product: Product) -> int:
    return int((await product.index.totals(IMAGES)).unverified.objects)  # type: ignore[attr-defined]


async def remembered(product: Product) -> Verification | None:
    facts = await product.index.bucket_facts(IMAGES)  # type: ignore[attr-defined]
    return facts.verification  # type: ignore[no-any-return]


def damage(product: Product) -> None:
    """From now on Telegram gives wrong bytes."""
    product.standin.control.faults({"match": {"method": "download"}, "times": None, "action": WRONG_BYTES})


async def test_what_equals_is_marked_and_a_whole_run_remembered(product: Product, origin_server: OriginServer) -> None:
    await moved(
        product, origin_server, "a", "b/ü", ContentType="image/png", CacheControl="max-age=3", Metadata={"x": "1"},
        Tagging="a=1&b=2", ChecksumAlgorithm="SHA256",
    )  # fmt: skip
    await product.send("PUT", "written", body=b"here")
    requests = len(product.origin.requests)
    run = await verified(product)
    assert (run.tally.equal, run.tally.compared, run.tally.clean) == (2, 2, True)
    assert {method for method, target in product.origin.requests[requests:] if "tagging" not in target} == {"HEAD"}
    assert await unverified(product) == 0
    memory = await remembered(product)
    assert memory is not None
    assert (memory.compared, memory.differed, memory.deep) == (2, 0, False)
    state = await product.state("a")
    assert isinstance(state, ObjectRecord)
    assert state.checked_at_s == int(memory.at_s)


async def test_every_kind_of_difference_is_reported_and_nothing_is_changed(
    product: Product, origin_server: OriginServer
) -> None:
    keys = ("bytes", "equal", "lost", "metadata", "tags")
    await moved(product, origin_server, *keys, ContentType="image/png", Tagging="a=1")
    before = {key: await product.state(key) for key in keys}
    origin_server.put("bytes", BODY + b"tesyb", ContentType="image/png", Tagging="a=1")
    origin_server.s3.delete_object(Bucket="images-there", Key="lost")
    origin_server.put("metadata", BODY + b"metadata", ContentType="image/jpeg", Tagging="a=1")
    tagging = {"TagSet": [{"Key": "a", "Value": "2"}]}
    origin_server.s3.put_object_tagging(Bucket="images-there", Key="tags", Tagging=tagging)
    run = await verified(product)
    differs = {key: [what for what in whats if what != "Last-Modified"] for key, whats in run.differs.items()}
    assert differs == {
        "bytes": ["ETag", "checksum crc32"],
        "lost": ["object"],
        "metadata": ["header content-type"],
        "tags": ["tag a"],
    }
    assert (run.tally.differed, run.tally.repaired, run.tally.clean) == (4, 0, False)
    assert await product.jobs() == []
    equal = await product.state("equal")
    assert isinstance(equal, ObjectRecord)
    assert equal.checked_at_s > 0
    for key in set(keys) - {"equal"}:
        assert await product.state(key) == before[key], "nothing is repaired or marked by itself"
    assert await unverified(product) == 4
    memory = await remembered(product)
    assert memory is not None
    assert (memory.compared, memory.differed) == (5, 4)


async def test_wrong_bytes_in_telegram_are_found_by_deep_alone(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a")
    damage(product)
    assert (await verified(product)).tally.clean
    requests = len(product.origin.requests)
    run = await verified(product, deep=True)
    assert run.differs == {"a": ["bytes"]}
    assert {method for method, _ in product.origin.requests[requests:]} == {"HEAD"}, "nothing was read there instead"


async def test_deep_hashes_what_it_reads(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a", "b")
    await in_parts(product, "parts")
    await in_parts(product, "parts crc", ChecksumAlgorithm="CRC32")
    await product.send("PUT", "written", body=b"here")
    await product.send("PUT", "empty", body=b"")
    before = product.downloads()
    run = await verified(product, deep=True, written=True)
    assert (run.differs, run.tally.equal, run.tally.clean) == ({}, 6, True)
    assert product.downloads() - before >= 5
    memory = await remembered(product)
    assert memory is not None
    assert (memory.compared, memory.deep) == (2, True)
    await falsify(product, "a", etag="0" * 32)
    await falsify(product, "parts", etag=f"{'0' * 32}-3")
    await falsify(product, "written", checksums='{"crc64nvme": "AAAAAAAAAAA=", "type": "FULL_OBJECT"}')
    await falsify(product, "empty", size=5)
    run = await verified(product, deep=True, written=True)
    assert run.differs == {
        "a": ["ETag", "MD5 of the bytes"],
        "parts": ["ETag of the bytes"],
        "written": ["crc64nvme of the bytes"],
        "empty": ["length"],
    }


async def falsify(product: Product, key: str, **columns: Any) -> None:
    """What a defect might have written into the index."""
    from sqlalchemy import update

    from addon.index.tables import keys

    statement = update(keys).where(keys.c.key == key.encode()).values(**columns)
    await product.index._writer.run(lambda connection: connection.execute(statement).rowcount)  # type: ignore[attr-defined]


async def test_objects_written_here_are_read_back_when_asked(product: Product, origin_server: OriginServer) -> None:
    await product.send("PUT", "written", body=BODY)
    damage(product)
    assert (await verified(product, deep=True)).tally.compared == 0
    run = await verified(product, written=True, repair=True)
    assert run.differs == {"written": ["bytes"]}
    assert isinstance(await product.state("written"), ObjectRecord), "what was written here is never touched"
    assert await product.jobs() == []


async def test_a_repair_forgets_the_copy_and_orders_it_anew(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "equal", "lost", "other")
    origin_server.put("other", b"another version", ContentType="image/png")
    origin_server.s3.delete_object(Bucket="images-there", Key="lost")
    run = await verified(product, repair=True)
    assert set(run.differs) == {"lost", "other"}
    assert run.tally.repaired == 1
    assert (await product.copied("other")).size == len(b"another version")
    lost = await product.state("lost")
    assert isinstance(lost, ObjectRecord), "the only copy is not taken away"
    assert {finding.record.key: finding.repair for finding in run.findings if finding.repair} == {
        "lost": "left as it is: the origin has nothing to copy in its place",
        "other": "forgotten, and ordered anew",
    }
    assert (await verified(product)).differs == {"lost": ["object"]}


async def test_damaged_bytes_are_repaired_from_the_origin(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a")
    former = await product.state("a")
    product.standin.control.faults({"match": {"method": "download"}, "times": 2, "action": WRONG_BYTES})
    run = await verified(product, deep=True, repair=True)
    assert (run.differs, run.tally.repaired) == ({"a": ["bytes"]}, 1)
    assert await product.copied("a") != former
    assert (await verified(product, deep=True)).tally.clean


async def test_what_the_origin_does_not_answer_is_not_compared(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a", "b", "c")
    answers = {"a": answer(503, "Retry-After: 0\r\n"), "b": answer(403), "c": answer(200, "", b"<html>")}
    seen: list[str] = []
    async with scripted(answers, seen) as origin:
        run = await verified(product, origin=origin)
    assert run.of(Outcome.NOT_COMPARED).keys() == {"a", "b", "c"}
    assert {finding.record.key: finding.reason for finding in run.findings} == {
        "a": "the origin answered 503",
        "b": "the origin answered 403",
        "c": "the origin's answer is no object: it has no usable ETag",
    }
    assert {key: seen.count(key) for key in answers} == {"a": QUICK.attempts_max, "b": 1, "c": 1}
    assert (run.tally.clean, await unverified(product), await remembered(product)) == (False, 3, None)


async def test_an_origin_that_recovers_is_compared_after_all(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a")
    record = await product.state("a")
    assert isinstance(record, ObjectRecord)
    own = product.store._origins[IMAGES]
    assert own is not None
    good = await head_at_origin(own, "a")
    assert good is not None
    told = f'ETag: "{good.etag}"\r\nLast-Modified: {http_date(good.last_modified_s)}\r\nContent-Length: {good.size}\r\n'
    told += "".join(f"{name}: {value}\r\n" for name, value in good.headers.items())
    left = [answer(500), answer(429), b"", f"HTTP/1.1 200 X\r\n{told}\r\n".encode()]

    async def handle(_: Received, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        given = left.pop(0)
        writer.write(given)
        if not given:
            writer.close()

    async with raw_server(handle) as server, origin_at(server.port) as origin:
        run = await verified(product, origin=origin)
    assert (run.tally.equal, left) == (1, [])


def http_date(time_s: int) -> str:
    from email.utils import formatdate

    return formatdate(time_s, usegmt=True)


@asynccontextmanager
async def scripted(answers: dict[str, bytes], seen: list[str]) -> AsyncIterator[Origin]:
    async def handle(received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        key = received.target.decode().rpartition("/")[2]
        seen.append(key)
        given = answers[key]
        writer.write(given if not given.startswith(b"HTTP/1.1 200") else given.partition(b"<html>")[0])

    async with raw_server(handle) as server, origin_at(server.port) as origin:
        yield origin


# Something happens to the object between the comparison and its report.

Change = Callable[[Product, OriginServer], Awaitable[object]]


async def write(product: Product, _: OriginServer) -> None:
    await product.send("PUT", "k", body=b"new")


async def delete(product: Product, _: OriginServer) -> None:
    await product.send("DELETE", "k")


async def supersede(product: Product, _: OriginServer) -> None:
    await product.index.supersede(IMAGES, "k")


async def copy_anew(product: Product, origin_server: OriginServer) -> None:
    await product.index.supersede(IMAGES, "k")
    assert (await product.send("GET", "k")).status_code == 200
    await product.copied("k")


async def write_past_us(product: Product, origin_server: OriginServer) -> None:
    await product.index.begin_origin_write(IMAGES, "k", now_s=product.store.now_s())


@pytest.mark.parametrize(
    ("change", "outcome", "deep"),
    [
        (write, Outcome.CHANGED, False),
        (write, Outcome.CHANGED, True),
        (delete, Outcome.CHANGED, False),
        (supersede, Outcome.CHANGED, False),
        (copy_anew, Outcome.EQUAL, True),
        (write_past_us, Outcome.CHANGED, False),
    ],
)
async def test_an_object_that_changes_meanwhile_is_no_difference(
    product: Product,
    origin_server: OriginServer,
    monkeypatch: pytest.MonkeyPatch,
    change: Change,
    outcome: Outcome,
    deep: bool,
) -> None:
    await moved(product, origin_server, "k")
    origin_server.put("k", b"another at the origin")
    changed = asyncio.Event()
    look = Verifier._look

    async def look_and_change(self: Verifier, record: ObjectRecord) -> Finding:
        found = await look(self, record)
        if not changed.is_set():
            assert found.outcome is Outcome.DIFFERS
            await change(product, origin_server)
            changed.set()
        return found

    monkeypatch.setattr(Verifier, "_look", look_and_change)
    after: Any = None

    def told(finding: Finding) -> None:
        nonlocal after
        after = finding

    tally = await verifier(product, deep=deep, repair=True).run(told)
    assert (after.outcome, tally.differed, tally.repaired) == (outcome, 0, 0)
    if change is write:
        assert (await product.send("GET", "k")).content == b"new"


async def test_a_record_that_is_out_of_date_when_it_is_read_back(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "k")
    former = await product.state("k")
    assert isinstance(former, ObjectRecord)
    await write(product, origin_server)
    finding = await verifier(product, deep=True)._look(former)
    assert finding.outcome is Outcome.CHANGED


async def test_a_sample_is_drawn_from_the_whole_bucket_and_again_with_its_seed(
    product: Product, origin_server: OriginServer
) -> None:
    keys = [f"{number:02d}" for number in range(12)]
    await moved(product, origin_server, *keys)
    drawn = []
    for _ in range(2):
        run = await verified(product, share=0.25)
        assert run.tally.equal == 3
        drawn.append({finding.record.key for finding in run.findings})
    assert drawn[0] == drawn[1]
    assert max(drawn[0]) > "05", "not the first ones only"
    assert await verifier(product, share=0.01).expected() == await verifier(product, prefix="07").expected()
    assert await remembered(product) is None, "a part proves nothing about the whole"
    run = await verified(product, prefix="1")
    assert run.tally.equal == 2
    assert await remembered(product) is None


async def test_a_bucket_without_an_origin_is_read_back_alone(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a")
    requests = len(product.origin.requests)
    run = await verified(product, origin=None, deep=True)
    assert (run.tally.equal, run.tally.bytes_read) == (1, len(BODY) + 1)
    assert len(product.origin.requests) == requests
    assert (await unverified(product), await remembered(product)) == (1, None)


async def test_stopped_half_way_it_marks_what_it_found(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a", "b")
    found: list[Finding] = []
    product.origin.requests.clear()
    running = asyncio.create_task(verifier(product, concurrency=1).run(found.append))

    def hold_the_second(finding: Finding) -> None:
        product.origin.gate.clear()
        found.append(finding)

    running.cancel()
    await asyncio.wait([running])
    running = asyncio.create_task(verifier(product, concurrency=1).run(hold_the_second))
    await eventually(lambda: any(target.endswith("/b") for _, target in product.origin.requests))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    product.origin.gate.set()
    assert [finding.record.key for finding in found] == ["a"]
    assert await unverified(product) == 1


async def test_only_copies_are_marked(product: Product, origin_server: OriginServer) -> None:
    await product.send("PUT", "written", body=b"here")
    run = await verified(product, written=True)
    assert run.tally.equal == 1
    state = await product.state("written")
    assert isinstance(state, ObjectRecord)
    assert (state.provenance, state.checked_at_s) == (Provenance.WRITTEN_HERE, 0)
    assert not [job for job in await product.jobs() if job.state is CopyState.WAITING]
