"""Cross-origin answers of the whole product: from the settings, and from what the origin's bucket says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from addon.service import cors
from tests.service.fixtures import OriginServer
from tests.service.product import (
    ALONE,
    HOST,
    IMAGES,
    USER,
    Answer,
    Product,
    eventually,
    running_product,
    target_of,
)
from tests.service.signing import presign

SITE, STRANGER = "https://www.example.com", "https://evil.test"
VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
SETTINGS = """
[[buckets.cors]]
allowed_origins = ["https://www.example.com"]
allowed_methods = ["GET", "PUT", "POST"]
allowed_headers = ["content-type", "x-amz-*"]
expose_headers = ["ETag"]
max_age_s = 600
id = "site"
[[buckets.cors]]
allowed_origins = ["*"]
allowed_methods = ["HEAD"]
"""
GRANTED = {
    "access-control-allow-origin": SITE,
    "access-control-allow-credentials": "true",
    "access-control-allow-methods": "GET, PUT, POST",
    "access-control-expose-headers": "ETag",
    "access-control-max-age": "600",
}
ORIGINS_RULES: list[dict[str, Any]] = [
    {"AllowedOrigins": [SITE], "AllowedMethods": ["GET"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 600}
]


@pytest.fixture
async def settled(tmp_path: Path, origin_server: OriginServer, quick_retries: None) -> AsyncIterator[Product]:
    """The product with rules in its settings."""
    async with running_product(tmp_path, origin_server.port, images=SETTINGS) as running:
        yield running


@pytest.fixture
def with_rules(origin_server: OriginServer) -> Iterator[OriginServer]:
    """An origin whose bucket has rules."""
    origin_server.s3.put_bucket_cors(Bucket="images-there", CORSConfiguration={"CORSRules": ORIGINS_RULES})
    yield origin_server
    origin_server.s3.delete_bucket_cors(Bucket="images-there")


def told(answer: Answer) -> dict[str, str]:
    """The cross-origin headers of an answer."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def from_page(origin: str = SITE) -> list[tuple[str, str]]:
    return [("origin", origin)]


async def preflight(
    product: Product, asked: Mapping[str, str], *, target: str = "/images/k", bucket: str = ""
) -> Answer:
    headers = [("host", HOST), *asked.items()]
    return await product.send_as_is("OPTIONS", f"/{bucket}/k" if bucket else target, headers)


PUT_FROM_SITE = {"origin": SITE, "access-control-request-method": "PUT"}


# --- Settings


async def test_a_preflight_is_answered_from_the_settings_and_nobody_is_asked(settled: Product) -> None:
    answer = await preflight(settled, {**PUT_FROM_SITE, "access-control-request-headers": "X-Amz-Date,content-type"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert told(answer) == {**GRANTED, "access-control-allow-headers": "x-amz-date, content-type"}
    assert answer.headers["vary"] == VARY
    anyone = await preflight(settled, {"origin": STRANGER, "access-control-request-method": "HEAD"})
    assert told(anyone) == {"access-control-allow-origin": "*", "access-control-allow-methods": "HEAD"}
    presigned = presign(USER, "PUT", target_of(IMAGES, "k"), HOST)
    assert told(await preflight(settled, PUT_FROM_SITE, target=presigned)) == GRANTED
    assert (await preflight(settled, {**PUT_FROM_SITE, "authorization": "AWS4-HMAC-SHA256 x"})).status_code == 200
    assert settled.origin.requests == []


async def test_a_preflight_that_no_rule_allows_is_refused(settled: Product) -> None:
    for asked, code, status in (
        ({**PUT_FROM_SITE, "origin": STRANGER}, "AccessForbidden", 403),
        ({**PUT_FROM_SITE, "access-control-request-method": "DELETE"}, "AccessForbidden", 403),
        ({**PUT_FROM_SITE, "access-control-request-headers": "x-other"}, "AccessForbidden", 403),
        ({"access-control-request-method": "PUT"}, "BadRequest", 400),
        ({"origin": SITE}, "BadRequest", 400),
    ):
        answer = await preflight(settled, asked)
        assert (answer.code, answer.status_code, told(answer)) == (code, status, {}), asked


async def test_a_preflight_about_a_million_headers_is_refused_unread(settled: Product) -> None:
    for value in ("x-a," * (1 << 18), "," * (1 << 20), "x" * (1 << 20)):
        refused = await preflight(settled, {**PUT_FROM_SITE, "access-control-request-headers": value})
        assert (refused.status_code, refused.code) == (400, "RequestHeaderSectionTooLarge")


async def test_answers_and_errors_are_told_to_the_page_that_may_see_them(settled: Product) -> None:
    put = await settled.send("PUT", "k", body=b"content", headers=from_page())
    got = await settled.send("GET", "k", headers=from_page())
    denied = await settled.send("GET", "k", headers=from_page(), by=None)
    missing = await settled.send("GET", "not-there", headers=from_page())
    wrong = await settled.send_as_is("GET", "/images/k?X-Amz-Signature=0", [("host", HOST), *from_page()])
    assert [one.status_code for one in (put, got, denied, missing, wrong)] == [200, 200, 403, 404, 400]
    for answer in (put, got, denied, missing, wrong):
        assert told(answer) == GRANTED, answer.text
        assert answer.headers["vary"] == VARY


async def test_a_page_that_no_rule_allows_is_told_nothing(settled: Product, with_rules: OriginServer) -> None:
    await settled.send("PUT", "k", body=b"content")
    with_rules.put("at-origin", b"there")
    for key in ("k", "at-origin"):
        answer = await settled.send("GET", key, headers=from_page(STRANGER))
        assert (answer.status_code, told(answer)) == (200, {})
        assert told(await settled.send("HEAD", key, headers=from_page(STRANGER)))["access-control-allow-origin"] == "*"
    assert told(await settled.send("GET", "k")) == {}


async def test_settings_stand_in_the_place_of_what_the_origin_says(settled: Product, with_rules: OriginServer) -> None:
    with_rules.put("at-origin", b"there")
    answer = await settled.send("GET", "at-origin", headers=from_page())
    assert (answer.content, told(answer)) == (b"there", GRANTED)


async def test_a_browser_upload_is_told_to_its_page(settled: Product) -> None:
    answer = await settled.send("POST", "", headers=from_page(), by=None)
    assert answer.status_code >= 400
    assert told(answer) == GRANTED


async def test_get_bucket_cors_says_what_the_settings_say(settled: Product) -> None:
    answer = await settled.send("GET", "", query="cors")
    assert answer.status_code == 200
    rules = fromstring(answer.content)
    assert [child.tag.rpartition("}")[2] for child in rules] == ["CORSRule", "CORSRule"]
    assert "<ID>site</ID>" in answer.text
    assert "<AllowedOrigin>https://www.example.com</AllowedOrigin>" in answer.text
    assert settled.origin.requests == []


async def test_an_empty_list_of_rules_allows_nothing(
    tmp_path: Path, with_rules: OriginServer, quick_retries: None
) -> None:
    async with running_product(tmp_path, with_rules.port, images="cors = []") as product:
        with_rules.put("at-origin", b"there")
        assert told(await product.send("GET", "at-origin", headers=from_page())) == {}
        assert (await preflight(product, PUT_FROM_SITE)).code == "AccessForbidden"
        assert (await product.send("GET", "", query="cors")).code == "NoSuchCORSConfiguration"


# --- The origin's rules


async def test_an_object_answers_the_same_before_and_after_it_has_moved(
    product: Product, with_rules: OriginServer
) -> None:
    with_rules.put("k", b"content")
    before = await product.send("GET", "k", headers=from_page())
    await product.copied("k")
    product.origin.requests.clear()
    after = await product.send("GET", "k", headers=from_page())
    assert before.content == after.content == b"content"
    assert ("GET", "/images-there/k") not in product.origin.requests
    for name in ("allow-origin", "allow-methods", "expose-headers", "max-age"):
        name = f"access-control-{name}"
        assert after.headers.get(name) == before.headers.get(name), name
    assert after.headers["access-control-allow-origin"] == SITE


def questions(product: Product) -> int:
    return sum(target.endswith("?cors") for _, target in product.origin.requests)


async def test_the_origins_rules_are_asked_for_once(product: Product, with_rules: OriginServer) -> None:
    await product.send("PUT", "k", body=b"content")
    now = [0.0]
    product.gateway._service._cors._monotonic_s = lambda: now[0]
    product.origin.gate.clear()
    reads = [asyncio.create_task(product.send("GET", "k", headers=from_page())) for _ in range(20)]
    await eventually(lambda: questions(product) > 0)
    product.origin.gate.set()
    answers = await asyncio.gather(*reads)
    assert {told(answer).get("access-control-allow-origin") for answer in answers} == {SITE}
    await product.send("GET", "k", headers=from_page())
    assert questions(product) == 1
    now[0] = cors.CORS_RULES_S + 1
    with_rules.s3.delete_bucket_cors(Bucket="images-there")
    assert told(await product.send("GET", "k", headers=from_page())) == {}
    assert questions(product) == 2


async def test_an_origin_that_is_down_costs_no_answer_and_its_last_word_holds(
    product: Product, with_rules: OriginServer
) -> None:
    await product.send("PUT", "k", body=b"content")
    now = [0.0]
    product.gateway._service._cors._monotonic_s = lambda: now[0]
    assert told(await product.send("GET", "k", headers=from_page()))["access-control-allow-origin"] == SITE
    now[0] += cors.CORS_RULES_S + 1
    product.origin.down = True
    assert told(await product.send("GET", "k", headers=from_page()))["access-control-allow-origin"] == SITE
    product.origin.down = False
    with_rules.s3.delete_bucket_cors(Bucket="images-there")
    assert told(await product.send("GET", "k", headers=from_page())) != {}
    now[0] += cors.CORS_RETRY_S + 1
    assert told(await product.send("GET", "k", headers=from_page())) == {}


async def test_an_origin_that_does_not_answer_is_not_waited_for(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cors, "CORS_RULES_WAIT_S_MAX", 0.05)
    await product.send("PUT", "k", body=b"content")
    product.origin.gate.clear()
    answer = await product.send("GET", "k", headers=from_page())
    assert (answer.content, told(answer)) == (b"content", {})
    product.origin.gate.set()


async def test_an_origin_without_rules_has_none_here_either(product: Product) -> None:
    await product.send("PUT", "k", body=b"content")
    for _ in range(2):
        assert told(await product.send("GET", "k", headers=from_page())) == {}
    assert questions(product) == 1


async def test_errors_are_told_to_the_page_too(product: Product, with_rules: OriginServer) -> None:
    answer = await product.send("GET", "k", headers=from_page(), by=None)
    assert (answer.status_code, told(answer)["access-control-allow-origin"]) == (403, SITE)


async def test_a_preflight_without_settings_is_the_origins(product: Product, with_rules: OriginServer) -> None:
    asked = {"origin": SITE, "access-control-request-method": "GET", "x-other": "stays here"}
    answer = await preflight(product, asked, target=presign(USER, "GET", target_of(IMAGES, "k"), HOST))
    assert product.origin.requests == [("OPTIONS", "/images-there/k")]
    assert answer.headers["access-control-allow-origin"] == SITE
    sent = bytes(product.origin.received).lower()
    assert b"authorization" not in sent
    assert b"x-other" not in sent
    product.origin.down = True
    assert (await preflight(product, asked)).status_code == 503


async def test_a_bucket_without_settings_and_origin_allows_nothing(product: Product) -> None:
    answer = await preflight(product, PUT_FROM_SITE, bucket=ALONE)
    assert (answer.code, answer.status_code) == ("AccessForbidden", 403)
    await product.send("PUT", "k", bucket=ALONE, body=b"content")
    assert told(await product.send("GET", "k", bucket=ALONE, headers=from_page())) == {}
    assert (await product.send("GET", "", bucket=ALONE, query="cors")).code == "NoSuchCORSConfiguration"


async def test_a_defect_in_finding_the_headers_costs_only_the_headers(
    settled: Product, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await settled.send("PUT", "k", body=b"content")

    async def fail(*_: object) -> Answer:
        raise RuntimeError("a defect")

    monkeypatch.setattr(cors.Cors, "answered", fail)
    answer = await settled.send("GET", "k", headers=from_page())
    assert (answer.content, told(answer)) == (b"content", {})
    assert "a defect" in caplog.text
    twice = await settled.send_as_is("GET", "/images/k", [("host", HOST), *from_page(), *from_page()])
    assert (twice.status_code, told(twice)) == (403, {})
