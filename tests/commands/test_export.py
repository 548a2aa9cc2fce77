"""`tgstore export` as its users run it, beside a running proxy."""

from __future__ import annotations

from tests.commands.program import ended, started, tgstore
from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, IMAGES, SECRETS, WRONG_BYTES, Product, eventually
from tests.store.test_exporter import BODY, put, writes_at_origin


async def test_an_export_that_was_killed_goes_on_and_ends_equal(product: Product, origin_server: OriginServer) -> None:
    keys = {f"k{number}" for number in range(8)}
    for key in keys:
        await put(product, key, BODY + key.encode(), content_type="image/png", x_amz_meta_a="1")
    product.origin.requests.clear()
    process = await started("export", IMAGES, "--concurrency", "1", "--json", cwd=product.folder)
    await eventually(lambda: len(writes_at_origin(product)) >= 3)
    product.origin.gate.clear()
    process.kill()
    await ended(process)
    product.origin.gate.set()
    written = origin_server.keys()
    assert written
    assert written < keys
    resumed = await tgstore("export", IMAGES, "--json", cwd=product.folder)
    assert (resumed.status, resumed.err) == (0, "")
    assert resumed.summary["written"] + resumed.summary["already_there"] == len(keys)
    assert resumed.summary["already_there"] >= len(written)
    assert origin_server.keys() == keys
    for key in keys:
        there = origin_server.s3.get_object(Bucket="images-there", Key=key)
        assert there["Body"].read() == BODY + key.encode()
        assert (there["ContentType"], there["Metadata"]) == ("image/png", {"a": "1"})
        assert there["ETag"] == (await product.send("HEAD", key)).headers["etag"]
    product.origin.requests.clear()
    again = await tgstore("export", IMAGES, cwd=product.folder)
    assert (again.status, writes_at_origin(product)) == (0, [])
    assert again.lines[-2:] == [
        "images: 0 written and proved (0 B), 8 were already there, 0 of the origin's were kept, 0 changed meanwhile, 0 failed",
        "deleted here: 0 deleted there as well, 0 still there",
    ]


async def test_what_is_not_as_it_is_here_is_said(product: Product, origin_server: OriginServer) -> None:
    await put(product, "a")
    await product.send("DELETE", "b")
    origin_server.put("a", b"theirs")
    origin_server.put("b", b"theirs")
    plan = await tgstore("export", IMAGES, "--dry-run", "--delete", cwd=product.folder)
    assert "would be written: a: 58.6 KiB" in plan.lines
    assert "would be deleted there as well: b" in plan.lines
    kept = await tgstore("export", IMAGES, "--keep-theirs", cwd=product.folder)
    assert kept.status == 0
    assert "the origin's object is kept: a: size: here 60000, there 6; ETag: here " in kept.out
    assert "deleted here, still there: b" in kept.lines
    assert (origin_server.get("a"), origin_server.get("b")) == (b"theirs", b"theirs")
    done = await tgstore("export", IMAGES, "--delete", "--json", cwd=product.folder)
    assert (done.status, done.summary["written"], done.summary["deleted"]) == (0, 1, 1)
    assert [one["key"] for one in done.of("deleted")] == ["b"]
    assert (origin_server.get("a"), origin_server.keys()) == (BODY, {"a"})
    assert not [secret for secret in SECRETS if secret in plan.out + kept.out + done.out + done.err]


async def test_what_fails_is_exit_status_1_and_a_retired_origin_is_left_alone(
    product: Product, origin_server: OriginServer
) -> None:
    await put(product, "a")
    product.standin.control.faults({"match": {"method": "download"}, "times": None, "action": WRONG_BYTES})
    assert await product.index.retire(IMAGES, now_s=1, leave_skipped=False)  # type: ignore[attr-defined]
    failed = await tgstore("export", IMAGES, "--although-retired", cwd=product.folder)
    assert failed.status == 1
    assert "failed: a: document" in failed.out
    assert origin_server.keys() == set()
    for bucket, said in ((IMAGES, "is retired"), (ALONE, "has no origin")):
        refused = await tgstore("export", bucket, cwd=product.folder)
        assert (refused.status, said in refused.err) == (1, True)
