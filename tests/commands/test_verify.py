"""`tgstore verify` as its users run it, beside a running proxy."""

from __future__ import annotations

import signal

import pytest

from tests.commands.program import ended, started, tgstore
from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, IMAGES, SECRETS, Product, eventually
from tests.store.test_verifier import BODY, damage, moved, unverified


async def test_a_clean_bucket_ends_with_0_and_says_so(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a", "b", ContentType="image/png", Metadata={"x": "1"})
    done = await tgstore("verify", IMAGES, "--deep", cwd=product.folder)
    assert (done.status, done.err) == (0, "")
    assert done.lines[-2:] == [
        "images: 2 compared, 2 equal, 0 differ, 0 could not be compared, 0 changed meanwhile and were left out",
        "97.7 KiB were read back from Telegram and hashed",
    ]
    assert done.lines[-3].startswith("verify: 2/2 objects, 97.7 KiB of 97.7 KiB, ")
    status = await tgstore("status", IMAGES, cwd=product.folder)
    assert "ago: 2 compared (bytes read back), 0 differed" in status.out


async def test_differences_are_reported_with_exit_status_1(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "equal", "lost", "zero\u200bwidth", ContentType="image/png")
    origin_server.s3.delete_object(Bucket="images-there", Key="lost")
    origin_server.put("zero\u200bwidth", BODY + "zero\u200bwidth".encode(), ContentType="image/jpeg")
    done = await tgstore("verify", IMAGES, cwd=product.folder)
    assert done.status == 1
    assert f"differs: lost: object: here {len(BODY) + 4} bytes, there nothing" in done.lines
    assert r"differs: zero\u200bwidth: header content-type: here image/png, there image/jpeg" in done.lines
    machine = await tgstore("verify", IMAGES, "--json", cwd=product.folder)
    assert machine.status == 1
    assert {one["key"]: one["differences"][-1]["what"] for one in machine.of("difference")} == {
        "lost": "object",
        "zero\u200bwidth": "header content-type",
    }
    assert machine.of("progress")[-1]["failed"] == 2
    assert (machine.summary["compared"], machine.summary["differed"], machine.summary["repaired"]) == (3, 2, 0)
    assert await unverified(product) == 2
    repaired = await tgstore("verify", IMAGES, "--repair", "--json", cwd=product.folder)
    assert (repaired.status, repaired.summary["repaired"]) == (1, 1)
    await product.copied("zero\u200bwidth")
    assert not [secret for secret in SECRETS if secret in done.out + done.err + machine.out + repaired.out]


async def test_wrong_bytes_are_found_by_deep_alone(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a")
    damage(product)
    assert (await tgstore("verify", IMAGES, cwd=product.folder)).status == 0
    done = await tgstore("verify", IMAGES, "--deep", cwd=product.folder)
    assert done.status == 1
    assert "differs: a: bytes: here document" in done.out


async def test_a_sample_tells_its_seed(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a", "b")
    first = await tgstore("verify", IMAGES, "--sample", "50%", cwd=product.folder)
    assert first.status == 0
    assert "images: 1 compared" in first.out
    seed = first.lines[-1].partition("--seed ")[2].split(" ")[0]
    again = await tgstore("verify", IMAGES, "--sample", "50%", "--seed", seed, "--json", cwd=product.folder)
    assert (again.summary["seed"], again.summary["compared"], await unverified(product)) == (int(seed), 1, 1)


async def test_a_retired_origin_is_not_asked(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a")
    assert (await tgstore("verify", IMAGES, cwd=product.folder)).status == 0
    assert await product.index.retire(IMAGES, now_s=1, leave_skipped=False)  # type: ignore[attr-defined]
    requests = len(product.origin.requests)
    refused = await tgstore("verify", IMAGES, cwd=product.folder)
    assert refused.status == 1
    assert "is retired (tgstore unretire images undoes that). With --deep" in refused.err
    done = await tgstore("verify", IMAGES, "--deep", "--json", cwd=product.folder)
    assert (done.status, done.summary["equal"]) == (0, 1)
    assert len(product.origin.requests) == requests
    alone = await tgstore("verify", ALONE, cwd=product.folder)
    assert (alone.status, "bucket alone has no origin" in alone.err) == (1, True)


@pytest.mark.parametrize("sample", ["0%", "101%", "some", "-5%"])
async def test_a_sample_that_cannot_be_meant_is_refused(product: Product, sample: str) -> None:
    done = await tgstore("verify", IMAGES, f"--sample={sample}", cwd=product.folder)
    assert (done.status, "such as 5%" in done.err) == (2, True)


async def test_ctrl_c_stops_it_cleanly(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a", "b")
    product.origin.requests.clear()
    product.origin.gate.clear()
    process = await started("verify", IMAGES, "--json", cwd=product.folder)
    await eventually(lambda: product.origin.requests)
    process.send_signal(signal.SIGINT)
    done = await ended(process)
    product.origin.gate.set()
    assert (done.status, done.err) == (130, "")
    assert (done.summary["stopped"], done.summary["compared"]) == (True, 0)
    assert not list((product.folder / "spool").glob("command-*"))
