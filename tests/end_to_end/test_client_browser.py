"""A page in headless Chromium that uploads to the bucket and reads from it, from another origin than the bucket's.

The browser, not the test, decides what the page may see: a header that is missing from an answer blocks it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.end_to_end.lab.certificates import Certificates
from tests.end_to_end.lab.clients import Chromium, page_server, s3_client
from tests.end_to_end.lab.clients.chromium import PageServer
from tests.end_to_end.lab.half_moved import HalfMoved
from tests.end_to_end.lab.target import Target, request

pytestmark = pytest.mark.end_to_end

PICTURE_BYTES = 40_000
UPLOAD_BYTES_MAX = 50_000
ONLY_IN_ORIGIN, MOVED, NEW = "01.bin", "02.bin", "new a+b ü.png"


@pytest.fixture
def pages() -> Iterator[PageServer]:
    if reason := Chromium().why_not_here():
        pytest.skip(reason)
    with page_server() as server:
        yield server


def page_bytes(seed: int, count: int) -> bytes:
    """What the page calls bytes(seed, count)."""
    return bytes((seed + i * 31 + i // 256) % 256 for i in range(count))


def posted(target: Target, prefix: str, name: str, seed: int, *, count: int = PICTURE_BYTES, **fields: str) -> Any:
    """A step that uploads by a policy for any key under ``prefix``."""
    policy = s3_client(target, signature_version="s3v4").generate_presigned_post(
        target.bucket,
        prefix + "${filename}",
        Fields={"Content-Type": "image/png", "x-amz-meta-from": "a page", **fields},
        Conditions=[
            ["starts-with", "$key", prefix],
            ["starts-with", "$Content-Type", "image/"],
            ["content-length-range", 1, UPLOAD_BYTES_MAX],
            {"x-amz-meta-from": "a page"},
            *[{field: value} for field, value in fields.items()],
        ],
    )
    form = [*policy["fields"].items()]
    return {
        "kind": "fetch", "method": "POST", "url": policy["url"], "form": form,
        "seed": seed, "bytes": count, "type": "image/png", "filename": name,
    }  # fmt: skip


def presigned(target: Target, operation: str, key: str, **parameters: Any) -> str:
    s3 = s3_client(target, signature_version="s3v4")
    return str(s3.generate_presigned_url(operation, {"Bucket": target.bucket, "Key": key, **parameters}))


def put(target: Target, key: str, seed: int) -> Any:
    parameters = {"ContentType": "image/png", "Metadata": {"from": "a page"}}
    return {
        "kind": "fetch", "method": "PUT", "url": presigned(target, "put_object", key, **parameters),
        "headers": {"Content-Type": "image/png", "x-amz-meta-from": "a page"}, "seed": seed, "bytes": PICTURE_BYTES,
    }  # fmt: skip


def get(target: Target, key: str) -> Any:
    return {"kind": "fetch", "method": "GET", "url": presigned(target, "get_object", key)}


def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def test_page_uploads_by_policy(
    half_moved: HalfMoved, pages: PageServer, certificates: Certificates, scratch: Path
) -> None:
    target, prefix = half_moved.target("https"), "page-post/"
    half_moved.fill(prefix)
    at_origin = half_moved.in_origin(prefix)
    names = [ONLY_IN_ORIGIN, MOVED, NEW]
    steps = [posted(target, prefix, name, seed, success_action_status="201") for seed, name in enumerate(names)]
    steps += [
        posted(target, prefix, "too large.png", 7, count=UPLOAD_BYTES_MAX + 1),
        {**posted(target, prefix, "07.bin", 8), "form": changed(posted(target, prefix, "07.bin", 8), "elsewhere/7")},
        {**posted(target, prefix, "form.png", 9, success_action_redirect=f"{pages.origin}/done"), "kind": "submit"},
    ]
    outcomes = Chromium().visit(pages, steps, certificates, scratch)

    for seed, (name, outcome) in enumerate(zip(names, outcomes, strict=False)):
        body = page_bytes(seed, PICTURE_BYTES)
        assert outcome["status"] == 201, outcome
        assert outcome["headers"]["etag"] == etag(body)
        assert f"<Bucket>{target.bucket}</Bucket>" in outcome["text"]
        answer = request(target, "GET", prefix + name)
        assert (answer.content, answer.headers["content-type"]) == (body, "image/png")
        assert answer.headers["x-amz-meta-from"] == "a page"
    too_large, wrong_key, form = outcomes[3:]
    assert too_large["status"] == 400, too_large
    assert "<Code>EntityTooLarge</Code>" in too_large["text"]
    assert wrong_key["status"] == 403, wrong_key
    assert request(target, "GET", "elsewhere/7").status_code == 404
    assert len(request(target, "GET", prefix + "07.bin").content) == 2_007

    assert form["location"].startswith(f"{pages.origin}/done?")
    told = parse_qs(urlsplit(pages.redirected_to[-1]).query)
    body = page_bytes(9, PICTURE_BYTES)
    assert told == {"bucket": [target.bucket], "key": [prefix + "form.png"], "etag": [etag(body)]}
    assert request(target, "GET", prefix + "form.png").content == body
    assert half_moved.in_origin(prefix) == at_origin


def changed(step: Any, key: str) -> Any:
    """The form of ``step`` with another key than its policy allows."""
    return [(name, key if name == "key" else value) for name, value in step["form"]]


def test_page_puts_and_gets_with_presigned_urls(
    half_moved: HalfMoved, pages: PageServer, certificates: Certificates, scratch: Path
) -> None:
    target, prefix = half_moved.target("https"), "page-put/"
    old = half_moved.fill(prefix)
    names = [ONLY_IN_ORIGIN, MOVED, NEW]
    written = [page_bytes(seed, PICTURE_BYTES) for seed in range(len(names))]
    read = [prefix + name for name in ("03 a+b & ü=(1).bin", "06/deep/er.bin", *names)]
    steps = [put(target, prefix + name, seed) for seed, name in enumerate(names)]
    steps += [get(target, key) for key in read]
    steps += [{"kind": "fetch", "method": "DELETE", "url": presigned(target, "delete_object", prefix + "09.bin")}]
    steps += [get(target, prefix + "no such key")]
    outcomes = Chromium().visit(pages, steps, certificates, scratch)

    assert [(told["status"], told["headers"]["etag"]) for told in outcomes[:3]] == [(200, etag(b)) for b in written]
    expected = [old[read[0]], old[read[1]], *written]
    assert [told.get("sha256") for told in outcomes[3:8]] == [hashlib.sha256(body).hexdigest() for body in expected]
    assert [told["headers"].get("x-amz-meta-from") for told in outcomes[3:8]] == [None, None, *["a page"] * 3]
    # The settings name no DELETE: the preflight says so, and the browser sends none.
    assert "blocked" in outcomes[8], outcomes[8]
    assert outcomes[9]["status"] == 404
    assert "<Code>NoSuchKey</Code>" in outcomes[9]["text"]
    assert request(target, "GET", prefix + "09.bin").content == old[prefix + "09.bin"]


def test_page_of_an_origin_that_no_rule_names_is_kept_away(
    half_moved: HalfMoved, pages: PageServer, certificates: Certificates, scratch: Path
) -> None:
    target, prefix = half_moved.target("https"), "page-other/"
    old = half_moved.fill(prefix)
    pages.host = "127.0.0.1"
    steps = [put(target, prefix + MOVED, 1), get(target, prefix + ONLY_IN_ORIGIN), get(target, prefix + MOVED)]
    outcomes = Chromium().visit(pages, steps, certificates, scratch)
    assert all("blocked" in told for told in outcomes), outcomes
    assert request(target, "GET", prefix + MOVED).content == old[prefix + MOVED]
