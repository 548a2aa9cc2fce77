"""The product beside its model: sends requests, learns what the copier did, and compares all that can be seen."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

import httpx
from hypothesis.stateful import (
    RuleBasedStateMachine,
)

from addon.store.records import CopyState, ObjectRecord, Provenance, Tombstone
from tests.end_to_end.lab.relay import PASS, Relay
from tests.service.fixtures import OriginServer
from tests.service.model import Held, Model, Place, held
from tests.service.origin_relay import origin_relay
from tests.service.product import ALONE, IMAGES, RELAXED, Answer, Product, eventually, product_again
from tests.standin_fixture import running_standin

ORIGIN_BUCKET = "images-there"
LISTED_AGAIN_MAX = 200
KEYS = ("a", "a/b", "a/c", "a/c/d", "b", "dir/", "é +%", "\U0001f4f7")
OBJECT_HEADERS = ("cache-control", "content-disposition", "content-type", "x-amz-meta-place")
# What S3 says of an object that was stored without a type.
DEFAULT_TYPE = "binary/octet-stream"

T = TypeVar("T")


@dataclass
class Surroundings:
    """What outlives an example."""

    origin: OriginServer
    relay: Relay


class ModelledProduct(RuleBasedStateMachine):
    """One example: a product of its own in an empty folder, in front of an empty origin, and the model of both.

    Here is how it is asked and compared; what is done to it are the rules of `tests/service/test_state_machine.py`.
    """

    surroundings: Surroundings
    settings: ClassVar[dict[str, str]] = {}
    """What differs from the settings of the other tests, as `product_again` takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="tgstore-state-machine-"))
        self.outside, self.inside = AsyncExitStack(), AsyncExitStack()
        self.telegram_trouble = self.origin_trouble = self.told_to_wait = False
        self.touched: set[Place] = set()
        self.run(self._begin())

    # --- The product

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def _begin(self) -> None:
        self.surroundings.origin.end()
        self.standin = await self.outside.enter_async_context(
            running_standin(self.folder / "telegram", switches=RELAXED)
        )
        port = int(self.surroundings.relay.origin.endpoint.rpartition(":")[2])
        self.relay = await self.outside.enter_async_context(origin_relay(port))
        await self._start()

    async def _start(self) -> None:
        self.product: Product = await self.inside.enter_async_context(
            product_again(self.folder, self.standin, self.relay, **self.settings)
        )

    def teardown(self) -> None:
        try:
            self.heal()
            self.everything_is_as_the_model_says()
            self.run(self.restarted(empty_caches=True))
            self.everything_is_as_the_model_says()
            self.run(eventually(self.nothing_waits_to_be_sent))
            self.garbage_is_what_nothing_refers_to()
        finally:
            self.run(self._end())
            self.runner.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _end(self) -> None:
        self.surroundings.relay.trouble = PASS
        await self.inside.aclose()
        await self.outside.aclose()

    async def restarted(self, *, empty_caches: bool) -> None:
        await self.inside.aclose()
        if empty_caches:
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        await self._start()

    def send(self, method: str, place: Place, **more: Any) -> Answer:
        bucket, key = place
        self.touched.add(place)
        return self.run(self.product.send(method, quote(key), bucket=bucket, raw=True, **more))

    def adopt(self, place: Place, *possible: Held | None) -> None:
        """One of these has become of the key, or nothing has."""
        if self.telegram_trouble or self.origin_trouble:
            self.heal()
        answer = self.send("HEAD", place)
        if matches(self.model.visible(place), answer):
            return
        for one in possible:
            if matches(one, answer):
                if one is not None:
                    self.model.write(place, one)
                else:
                    self.model.delete(place)
                return
        raise AssertionError(f"{place} is none of what it may be: {answer}")

    def settle(self) -> None:
        """No copy waits or runs any more; the model learns which ones are here."""
        self.run(eventually(self.copies_are_over))
        for key in KEYS:
            state = self.run(self.product.state(key))
            version = self.model.origin.get((IMAGES, key))
            if isinstance(state, ObjectRecord) and state.provenance is Provenance.COPIED_FROM_ORIGIN:
                if (IMAGES, key) not in self.model.copied:
                    assert version is not None
                    self.model.copy((IMAGES, key), version)
            else:
                assert (IMAGES, key) not in self.model.copied

    async def nothing_waits_to_be_sent(self) -> bool:
        backlog = await self.product.index.backlog()  # type: ignore[attr-defined]
        return bool(backlog.documents == 0)

    async def copies_are_over(self) -> bool:
        copier = self.product.gateway._passages._copier
        if copier._orders or any("Copier._copy" in repr(task.get_coro()) for task in asyncio.all_tasks()):
            return False
        jobs = await self.product.jobs()
        return all(job.state in {CopyState.FAILED, CopyState.SKIPPED} for job in jobs)

    def forget_at_origin(self, key: str) -> None:
        self.surroundings.origin.s3.delete_object(Bucket=ORIGIN_BUCKET, Key=key)
        self.model.origin.pop((IMAGES, key), None)
        self.touched.add((IMAGES, key))

    def put_at_origin(self, key: str, body: bytes, given: dict[str, str]) -> None:
        names = {
            "content-type": "ContentType", "cache-control": "CacheControl", "content-disposition": "ContentDisposition",
        }  # fmt: skip
        more: dict[str, Any] = {names[name]: value for name, value in given.items() if name in names}
        if "x-amz-meta-place" in given:
            more["Metadata"] = {"place": given["x-amz-meta-place"]}
        origin = self.surroundings.origin
        origin.put(key, body, ORIGIN_BUCKET, **more)
        told = origin.s3.head_object(Bucket=ORIGIN_BUCKET, Key=key)["ResponseMetadata"]["HTTPHeaders"]
        self.model.origin[IMAGES, key] = Held(body, held(body, {}).etag, given, told["last-modified"])
        self.touched.add((IMAGES, key))

    def heal(self) -> None:
        self.relay.down = False
        self.surroundings.relay.trouble = PASS
        self.standin.control.clear_faults()
        if self.told_to_wait:
            # A new process knows nothing of that.
            self.run(self.restarted(empty_caches=False))
        self.telegram_trouble = self.origin_trouble = self.told_to_wait = False

    # --- What must hold

    def done(self, answer: Answer, expected: int = 200) -> bool:
        """Whether it happened. In trouble it may fail instead, in words that SDKs take for a reason to try again."""
        if answer.status_code == expected and not (expected == 200 and b"<Error>" in answer.content):
            return True
        assert self.telegram_trouble or self.origin_trouble, answer
        code = answer.code
        assert answer.status_code in {500, 503} or (answer.status_code == 200 and code), answer
        assert code in {"SlowDown", "ServiceUnavailable", "InternalError"}, answer
        return False

    def try_to_get(self, place: Place, method: str = "GET", **more: Any) -> Answer | None:
        """None where trouble is in the way, which must show as an error or as a broken transfer."""
        try:
            answer = self.send(method, place, **more)
        except httpx.HTTPError:
            assert self.telegram_trouble or self.origin_trouble
            return None
        if answer.status_code in {500, 502, 503}:
            assert self.telegram_trouble or self.origin_trouble, answer
            return None
        return answer

    def get(self, place: Place) -> None:
        self.check(place, self.try_to_get(place))

    def check(self, place: Place, answer: Answer | None, *, head: bool = False) -> None:
        if answer is None:
            return
        current = self.model.visible(place)
        assert matches(current, answer, head=head), (place, current, answer)
        if current is not None:
            self.model.seen(place, answer.headers["last-modified"])

    def listings_are_as_the_model_says(self) -> None:
        for bucket in (IMAGES, ALONE):
            assert self.listed(bucket, "list-type=2") in (None, self.model.listed(bucket))

    def listed(self, bucket: str, query: str) -> list[str] | None:
        """All names of a listing, page after page; None where the origin did not answer."""
        found: list[str] = []
        following = query
        for _ in range(LISTED_AGAIN_MAX):
            answer = self.run(self.product.send("GET", "", bucket=bucket, query=following))
            if answer.status_code != 200:
                assert (answer.status_code, bucket, self.origin_trouble) == (503, IMAGES, True), answer
                return None
            names = self.checked_page(bucket, answer, query)
            found += names
            if "<IsTruncated>true" not in answer.text:
                return found
            following = next_page(query, answer.text, names)
        raise AssertionError("the listing does not end")

    def checked_page(self, bucket: str, answer: Answer, query: str) -> list[str]:
        """The names of one page, in order. Each object in it is told as a HEAD would tell it."""
        names = []
        entries = re.findall("<(Contents|CommonPrefixes)>(.*?)</(?:Contents|CommonPrefixes)>", answer.text)
        for kind, inner in entries:
            (name,) = re.findall("<(?:Key|Prefix)>(.*?)</(?:Key|Prefix)>", inner)
            names.append(html.unescape(name))
            if kind == "CommonPrefixes":
                continue
            current = self.model.visible((bucket, names[-1]))
            assert current is not None, names[-1]
            (etag,), (size,) = re.findall("<ETag>(.*?)</ETag>", inner), re.findall("<Size>(.*?)</Size>", inner)
            assert (html.unescape(etag), int(size)) == (f'"{current.etag}"', len(current.body)), names[-1]
            (modified,) = re.findall("<LastModified>(.*?)</LastModified>", inner)
            if current.last_modified is not None:
                assert http_date(modified) == current.last_modified
        if match := re.search("max-keys=([0-9]+)", query):
            assert len(names) <= int(match[1])
        if "list-type=2" in query:
            assert f"<KeyCount>{len(names)}</KeyCount>" in answer.text
        return sorted(names, key=str.encode)

    def everything_is_as_the_model_says(self) -> None:
        """Every key with all its bytes, which moves all that has not moved; then again, from here."""
        for _ in range(2):
            for bucket in (IMAGES, ALONE):
                for key in KEYS:
                    self.get((bucket, key))
                    self.check((bucket, key), self.try_to_get((bucket, key), "HEAD"), head=True)
            self.settle()
        self.listings_are_as_the_model_says()
        for place in self.model.origin:
            state = self.run(self.product.state(place[1]))
            assert isinstance(state, Tombstone if place in self.model.deleted else ObjectRecord), place

    def garbage_is_what_nothing_refers_to(self) -> None:
        """And whatever is in use is in Telegram."""
        with closing(sqlite3.connect(self.folder / "tgstore.db")) as index:
            used = {
                row[0]
                for table in ("extents", "part_extents")
                for row in index.execute(f"SELECT document_id FROM {table}")
            }
            unused = {row[0] for row in index.execute("SELECT document_id FROM documents")} - used
            (open_uploads,) = index.execute("SELECT count(*) FROM uploads WHERE state = 'open'").fetchone()
        assert self.run(self.product.garbage()) == unused
        assert used <= set(self.product.documents_in_telegram())
        assert open_uploads == len(self.model.uploads)
        assert spooled(self.folder) == []


def matches(expected: Held | None, answer: Answer, *, head: bool | None = None) -> bool:
    """Whether the answer to a GET or HEAD shows this object (None: none). Without `head` a missing body is one of a HEAD."""
    if expected is None:
        return answer.status_code == 404
    told = {name: answer.headers[name] for name in OBJECT_HEADERS if name in answer.headers}
    headers_then = {"content-type": DEFAULT_TYPE, **expected.headers}
    body_is_right = answer.content == expected.body or (head is not False and not answer.content)
    return (
        answer.status_code == 200
        and answer.headers["etag"] == f'"{expected.etag}"'
        and answer.headers["content-length"] == str(len(expected.body))
        and told == headers_then
        and body_is_right
        and expected.last_modified in (None, answer.headers["last-modified"])
    )


def next_page(query: str, page: str, names: list[str]) -> str:
    """The query of the page that follows."""
    token = re.search("<NextContinuationToken>(.*?)</NextContinuationToken>", page)
    if "list-type=2" in query:
        assert token is not None, page
        return "&".join(sorted([*query.split("&"), f"continuation-token={quote(html.unescape(token[1]), safe='')}"]))
    marker = re.search("<NextMarker>(.*?)</NextMarker>", page)
    last = html.unescape(marker[1]) if marker else names[-1]
    kept = [one for one in query.split("&") if not one.startswith("marker=")]
    return "&".join(sorted([*kept, f"marker={quote(last, safe='')}"]))


def http_date(listed: str) -> str:
    moment = datetime.fromisoformat(listed.replace("Z", "+00:00")).astimezone(UTC)
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")


def content_md5(body: bytes) -> tuple[str, str]:
    return "content-md5", base64.b64encode(hashlib.md5(body).digest()).decode()


def spooled(folder: Path) -> list[Path]:
    return [path for path in (folder / "spool").rglob("*") if path.is_file()]
