"""`tgstore verify` as its users run it, beside a running proxy."""

from __future__ import annotations

import signal

import pytest
import typer

from addon.commands.verify import share_of
from tests.commands.program import ended, started, tgstore
from tests.service.fixtures import OriginServer
from tests.service.product import IMAGES, SECRETS, Product, eventually
from tests.store.test_verifier import BODY, damage, moved, unverified


async def test_a_clean_bucket_ends_with_0_and_says_so(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a", "b", ContentType="image/png", Metadata={"x": "1"})
    done = await tgstore("verify", IMAGES, "--deep", cwd=product.folder)
    assert (done.status, done.err) == (0, "")
    assert done.lines[-2:] == [
        "images: 2 compared, 2 equal, 0 differ, 0 could not be compared, 0 changed meanwhile and were left out",
        "97.7 KiB were read back from Telegram and have their hashes",
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
    assert await unverified(product) == 2
    repaired = await tgstore("verify", IMAGES, "--repair", "--json", cwd=product.folder)
    assert repaired.status == 1
    assert {one["key"]: one["differences"][-1]["what"] for one in repaired.of("difference")} == {
        "lost": "object",
        "zero\u200bwidth": "header content-type",
    }
    assert repaired.of("progress")[-1]["failed"] == 2
    summary = repaired.summary
    assert (summary["compared"], summary["differed"], summary["repaired"]) == (3, 2, 1)
    await product.copied("zero\u200bwidth")
    assert not [secret for secret in SECRETS if secret in done.out + done.err + repaired.out]


async def test_wrong_bytes_are_found_by_deep(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a")
    damage(product)
    done = await tgstore("verify", IMAGES, "--deep", cwd=product.folder)
    assert done.status == 1
    assert "differs: a: bytes: here document" in done.out


async def test_a_sample_tells_its_seed(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a", "b")
    done = await tgstore("verify", IMAGES, "--sample", "50%", "--seed", "7", cwd=product.folder)
    assert (done.status, await unverified(product)) == (0, 1)
    assert "images: 1 compared" in done.lines[-2]
    assert done.lines[-1] == "a sample of 50.0000%; --seed 7 draws the same one again"


async def test_a_retired_origin_is_not_asked(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a")
    copy = await product.state("a")
    await product.index.mark_verified([copy], now_s=1)  # type: ignore[attr-defined]
    assert await product.index.retire(IMAGES, now_s=1, leave_skipped=False)  # type: ignore[attr-defined]
    requests = len(product.origin.requests)
    refused = await tgstore("verify", IMAGES, cwd=product.folder)
    assert refused.status == 1
    assert "is retired (tgstore unretire images undoes that). With --deep" in refused.err
    done = await tgstore("verify", IMAGES, "--deep", "--json", cwd=product.folder)
    assert (done.status, done.summary["equal"]) == (0, 1)
    assert len(product.origin.requests) == requests


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.5", 0.005), ("100%", 1.0), (" 12.25% ", 0.1225)])
def test_a_sample_is_a_percentage(text: str, share: float) -> None:
    assert share_of(text) == share


@pytest.mark.parametrize("text", ["0%", "101%", "some", "-5%", "", "5%%", "1e1", "٣%"])
def test_a_sample_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="such as 5%"):
        share_of(text)


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
