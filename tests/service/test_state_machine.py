"""The product against a model, driven at random: writes, copies, multipart uploads, reads, listings, an origin that changes, writes
that go past us, failures of Telegram and of the origin, restarts.

After each step everything that can be asked without changing anything is asked of both. TGSTORE_STATE_MACHINE_EXAMPLES makes a
longer run of that many examples, with another seed each time.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from addon.service.multipart import MultipartHandlers
from addon.store.ports import WriteOutcome
from addon.store.records import CopyState, ObjectRecord, Provenance, Tombstone
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.relay import PASS, Relay, Step
from tests.service.fixtures import OriginServer
from tests.service.model import Held, Model, Place, Upload, held
from tests.service.origin_relay import origin_relay
from tests.service.product import ALONE, IMAGES, ORIGIN_KEY, RELAXED, Answer, Product, eventually, product_again
from tests.standin_fixture import running_standin

LONG_RUN = "TGSTORE_STATE_MACHINE_EXAMPLES"
EXAMPLES, STEPS = 15, 30
PART_BYTES_MIN = 5
ORIGIN_BUCKET = "images-there"
LISTED_AGAIN_MAX = 200

KEYS = ("a", "a/b", "a/c", "a/c/d", "b", "dir/", "é +%", "\U0001f4f7")
keys = st.sampled_from(KEYS)
places = st.tuples(st.sampled_from((IMAGES, IMAGES, IMAGES, ALONE)), keys)
bodies = st.builds(
    lambda size, seed: (b"%d." % seed * size)[:size], st.sampled_from((0, 1, 7, 1000)), st.integers(0, 99)
)
headers = st.sampled_from(
    (
        {},
        {"content-type": "image/png", "cache-control": "max-age=60"},
        {"content-type": "text/plain; charset=utf-8", "x-amz-meta-place": "Kiel", "content-disposition": "inline"},
    )
)
OBJECT_HEADERS = ("cache-control", "content-disposition", "content-type", "x-amz-meta-place")
# What S3 says of an object that was stored without a type.
DEFAULT_TYPE = "binary/octet-stream"
TELEGRAM_TROUBLES = (
    {"kind": "http", "code": 500, "form": "json"},
    {"kind": "http", "code": 502, "form": "html"},
    {"kind": "rate", "retry_after": 3, "hold": False},
    {"kind": "reset", "at": "before_answer"},
    {"kind": "reset", "at": "before_answer", "phase": "after"},
    {"kind": "reset", "at": "request_body"},
    {"kind": "wrong_json"},
)
ORIGIN_TROUBLES = (Step(status=500), Step(status=503, headers=(("Retry-After", "1"),)), Step(status=0), Step(cut_at=3))

T = TypeVar("T")


@dataclass
class Surroundings:
    """What outlives an example."""

    origin: OriginServer
    relay: Relay


class Bucket(RuleBasedStateMachine):
    """One example: a product of its own in an empty folder, in front of an empty origin."""

    surroundings: Surroundings

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
            product_again(self.folder, self.standin, self.relay)
        )

    def teardown(self) -> None:
        try:
            self.heal()
            self.everything_is_as_the_model_says()
            self.run(self._restart(empty_caches=True))
            self.everything_is_as_the_model_says()
            self.garbage_is_what_nothing_refers_to()
        finally:
            self.run(self._end())
            self.runner.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _end(self) -> None:
        self.surroundings.relay.trouble = PASS
        await self.inside.aclose()
        await self.outside.aclose()

    async def _restart(self, *, empty_caches: bool) -> None:
        await self.inside.aclose()
        if empty_caches:
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        await self._start()

    def send(self, method: str, place: Place, **more: Any) -> Answer:
        bucket, key = place
        self.touched.add(place)
        return self.run(self.product.send(method, quote(key), bucket=bucket, raw=True, **more))

    # --- Writes

    @rule(place=places, body=bodies, given=headers)
    def put(self, place: Place, body: bytes, given: dict[str, str]) -> None:
        answer = self.send("PUT", place, body=body, headers=list(given.items()))
        if self.done(answer):
            assert answer.headers["etag"] == f'"{held(body, given).etag}"'
            self.model.write(place, held(body, given))

    @rule(place=places, body=bodies, want=st.sampled_from(("absent", "this", "another")))
    def put_under_a_condition(self, place: Place, body: bytes, want: str) -> None:
        current = self.model.visible(place)
        named = {
            "absent": ("if-none-match", "*"),
            "this": ("if-match", f'"{current.etag if current else "0" * 32}"'),
            "another": ("if-match", f'"{"f" * 32}"'),
        }[want]
        answer = self.send("PUT", place, body=body, headers=[named])
        if current is None:
            expected = 200 if want == "absent" else 404
        else:
            expected = 200 if want == "this" else 412
        if self.done(answer, expected) and expected == 200:
            self.model.write(place, held(body, {}))

    @rule(place=places, body=bodies, after_s=st.sampled_from((0.0, 0.002, 0.01)))
    def put_and_leave(self, place: Place, body: bytes, after_s: float) -> None:
        """The answer is never seen: the object is the former one or the new one."""

        async def leave() -> None:
            bucket, key = place
            sending = asyncio.create_task(self.product.send("PUT", quote(key), bucket=bucket, body=body, raw=True))
            await asyncio.wait({sending}, timeout=after_s)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            # Behind whatever arrived of it.
            await self.product.send("HEAD", quote(key), bucket=bucket, raw=True)
            await eventually(lambda: not any("run_asgi" in repr(task.get_coro()) for task in asyncio.all_tasks()))

        self.run(leave())
        self.adopt(place, held(body, {}))

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

    @rule(place=places)
    def delete(self, place: Place) -> None:
        if self.done(self.send("DELETE", place), 204):
            self.model.delete(place)

    @rule(place=places, right=st.booleans())
    def delete_under_a_condition(self, place: Place, right: bool) -> None:
        current = self.model.visible(place)
        etag = current.etag if current is not None and right else "f" * 32
        answer = self.send("DELETE", place, headers=[("if-match", f'"{etag}"')])
        expected = 412 if current is not None and not right else 204
        if self.done(answer, expected) and expected == 204 and current is not None:
            self.model.delete(place)

    @rule(bucket=st.sampled_from((IMAGES, ALONE)), chosen=st.sets(keys, min_size=1), quiet=st.booleans())
    def delete_objects(self, bucket: str, chosen: set[str], quiet: bool) -> None:
        listed = "".join(f"<Object><Key>{html.escape(key)}</Key></Object>" for key in sorted(chosen))
        body = f"<Delete><Quiet>{str(quiet).lower()}</Quiet>{listed}</Delete>".encode()
        answer = self.run(
            self.product.send("POST", "", bucket=bucket, query="delete", body=body, headers=[content_md5(body)])
        )
        if self.done(answer):
            assert b"<Error>" not in answer.content
            assert answer.text.count("<Deleted>") == (0 if quiet else len(chosen))
            for key in chosen:
                self.model.delete((bucket, key))
                self.touched.add((bucket, key))

    @rule(source=places, place=places, given=st.one_of(st.none(), headers))
    def copy(self, source: Place, place: Place, given: dict[str, str] | None) -> None:
        found = self.model.visible(source)
        asked = [("x-amz-copy-source", f"/{source[0]}/{quote(source[1])}")]
        if given is not None:
            asked += [("x-amz-metadata-directive", "REPLACE"), *given.items()]
        answer = self.send("PUT", place, headers=asked)
        expected = 404 if found is None else 400 if source == place and given is None else 200
        if self.done(answer, expected) and found is not None and expected == 200:
            assert f"{found.etag}" in html.unescape(answer.text)
            self.model.write(place, Held(found.body, found.etag, found.headers if given is None else given))

    # --- Multipart uploads

    @rule(place=places, given=headers)
    def begin_upload(self, place: Place, given: dict[str, str]) -> None:
        answer = self.send("POST", place, query="uploads", headers=list(given.items()))
        if self.done(answer):
            (upload_id,) = re.findall("<UploadId>([^<]+)<", answer.text)
            self.model.uploads[upload_id] = Upload(place, given)

    def chosen_upload(self, choice: int) -> tuple[str, Upload]:
        upload_id = sorted(self.model.uploads, key=lambda one: list(self.model.uploads).index(one))[
            choice % len(self.model.uploads)
        ]
        return upload_id, self.model.uploads[upload_id]

    @precondition(lambda self: self.model.uploads)
    @rule(choice=st.integers(0, 9), number=st.integers(1, 4), body=bodies)
    def upload_part(self, choice: int, number: int, body: bytes) -> None:
        upload_id, upload = self.chosen_upload(choice)
        answer = self.send("PUT", upload.place, query=f"partNumber={number}&uploadId={upload_id}", body=body)
        if self.done(answer):
            assert answer.headers["etag"] == f'"{held(body, {}).etag}"'
            upload.parts[number] = body

    @precondition(lambda self: self.model.uploads)
    @rule(choice=st.integers(0, 9), number=st.integers(1, 4), source=places)
    def upload_part_copy(self, choice: int, number: int, source: Place) -> None:
        upload_id, upload = self.chosen_upload(choice)
        found = self.model.visible(source)
        asked = [("x-amz-copy-source", f"/{source[0]}/{quote(source[1])}")]
        answer = self.send("PUT", upload.place, query=f"partNumber={number}&uploadId={upload_id}", headers=asked)
        if self.done(answer, 404 if found is None else 200) and found is not None:
            upload.parts[number] = found.body

    @precondition(lambda self: self.model.uploads)
    @rule(choice=st.integers(0, 9), numbers=st.sets(st.integers(1, 4), min_size=1), only_if_absent=st.booleans())
    def complete_upload(self, choice: int, numbers: set[int], only_if_absent: bool) -> None:
        upload_id, upload = self.chosen_upload(choice)
        chosen = sorted(numbers & set(upload.parts)) or sorted(numbers)
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{held(upload.parts.get(number, b''), {}).etag}</ETag></Part>"
            for number in chosen
        )
        answer = self.send(
            "POST",
            upload.place,
            query=f"uploadId={upload_id}",
            body=f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode(),
            headers=[("if-none-match", "*")] if only_if_absent else [],
        )
        expected = 200 if upload.can_become(chosen, part_bytes_min=PART_BYTES_MIN) else 400
        if only_if_absent and self.model.visible(upload.place) is not None:
            expected = 412
        if self.done(answer, expected) and expected == 200:
            whole = upload.completed(chosen)
            assert whole.etag in answer.text
            self.model.write(upload.place, whole)
            del self.model.uploads[upload_id]

    @precondition(lambda self: self.model.uploads)
    @rule(choice=st.integers(0, 9))
    def abort_upload(self, choice: int) -> None:
        upload_id, upload = self.chosen_upload(choice)
        if self.done(self.send("DELETE", upload.place, query=f"uploadId={upload_id}"), 204):
            del self.model.uploads[upload_id]

    # --- Reads, and the copies that they order

    @rule(place=places)
    def read(self, place: Place) -> None:
        """The copy races with whatever comes next."""
        self.get(place)

    @rule(place=places, start=st.integers(0, 1200), length=st.integers(1, 700))
    def read_range(self, place: Place, start: int, length: int) -> None:
        answer = self.try_to_get(place, headers=[("range", f"bytes={start}-{start + length - 1}")])
        current = self.model.visible(place)
        if answer is None or current is None:
            return
        if start < len(current.body):
            assert (answer.status_code, answer.content) == (206, current.body[start : start + length])
        else:
            assert answer.status_code == 416

    @rule()
    def let_copies_end(self) -> None:
        self.settle()

    def settle(self) -> None:
        """No copy waits or runs any more; the model learns which ones are here."""
        self.run(eventually(self._copies_are_over))
        for key in KEYS:
            state = self.run(self.product.state(key))
            version = self.model.origin.get((IMAGES, key))
            if isinstance(state, ObjectRecord) and state.provenance is Provenance.COPIED_FROM_ORIGIN:
                if (IMAGES, key) not in self.model.copied:
                    assert version is not None
                    self.model.copy((IMAGES, key), version)
            else:
                assert (IMAGES, key) not in self.model.copied

    async def _copies_are_over(self) -> bool:
        copier = self.product.gateway._passages._copier
        if copier._orders or any("Copier.copy" in repr(task.get_coro()) for task in asyncio.all_tasks()):
            return False
        jobs = await self.product.jobs()
        return all(job.state in {CopyState.FAILED, CopyState.SKIPPED} for job in jobs)

    # --- The origin

    @rule(key=keys, body=bodies, given=headers)
    def origin_changes(self, key: str, body: bytes, given: dict[str, str]) -> None:
        """Behind our back: promised to be seen only for keys that have not moved."""
        self.settle()
        self._put_at_origin(key, body, given)

    @rule(key=keys)
    def origin_forgets(self, key: str) -> None:
        self.settle()
        self.surroundings.origin.s3.delete_object(Bucket=ORIGIN_BUCKET, Key=key)
        self.model.origin.pop((IMAGES, key), None)
        self.touched.add((IMAGES, key))

    @rule(key=keys, body=bodies)
    def origin_changes_while_it_is_copied(self, key: str, body: bytes) -> None:
        """One version or the other is copied, never a mixture."""
        place = (IMAGES, key)
        self.settle()
        if place in self.model.here or place in self.model.deleted or self.model.visible(place) is None:
            return
        self.get(place)
        former = self.model.origin[place]
        self._put_at_origin(key, body, {})
        self.run(eventually(self._copies_are_over))
        state = self.run(self.product.state(key))
        if isinstance(state, ObjectRecord):
            (version,) = {
                one.etag: one for one in (former, self.model.origin[place]) if one.etag == state.etag
            }.values()
            if former.etag == self.model.origin[place].etag and state.headers.get("content-type") == former.headers.get(
                "content-type", DEFAULT_TYPE
            ):
                version = former if matches(former, self.send("HEAD", place)) else version
            self.model.copy(place, version)
        self.settle()

    def _put_at_origin(self, key: str, body: bytes, given: dict[str, str]) -> None:
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

    @rule(
        key=keys,
        body=bodies,
        outcome=st.sampled_from(list(WriteOutcome)),
        arrives=st.booleans(),
        meanwhile=st.sampled_from(("nothing", "read", "put", "delete", "conditional put")),
    )
    def write_past_us(self, key: str, body: bytes, outcome: WriteOutcome, arrives: bool, meanwhile: str) -> None:
        """Somebody with a key pair of the origin's writes there, through us. `UNKNOWN`: its answer never came, and it may have
        arrived or not."""
        place = (IMAGES, key)
        writes = self.product.gateway._passages._origin_writes
        write = self.run(writes.begin(IMAGES, key))
        if meanwhile == "read":
            self.get(place)
        before = dict(self.model.origin)
        overruled = False
        if outcome is WriteOutcome.ACCEPTED or (outcome is WriteOutcome.UNKNOWN and arrives):
            self._put_at_origin(key, body, {})
            if place in self.model.copied and before.get(place) != self.model.origin[place]:
                # From now on the origin is asked, and what it says counts.
                self.model.forget_copy(place)
        if meanwhile == "put":
            overruled = self.done(self.send("PUT", place, body=b"in between"))
            if overruled:
                self.model.write(place, held(b"in between", {}))
        elif meanwhile == "delete":
            overruled = self.done(self.send("DELETE", place), 204)
            if overruled:
                self.model.delete(place)
        elif meanwhile == "conditional put":
            answer = self.send("PUT", place, body=b"x", headers=[("if-none-match", "*")])
            assert answer.status_code in {409, 503} or self.telegram_trouble or self.origin_trouble, answer
            assert answer.status_code != 200
        self.run(writes.end(write, outcome))
        if overruled or outcome is WriteOutcome.REFUSED:
            return
        if outcome is WriteOutcome.ACCEPTED:
            self.model.supersede(place)
        else:
            self.model.forget_copy(place)

    # --- Trouble

    @rule(
        action=st.sampled_from(TELEGRAM_TROUBLES),
        times=st.sampled_from((1, 2, 40)),
        method=st.sampled_from(("sendDocument", "*")),
    )
    def telegram_fails(self, action: dict[str, Any], times: int, method: str) -> None:
        self.standin.control.faults({"match": {"method": method}, "times": times, "action": action})
        self.telegram_trouble = True
        self.told_to_wait = self.told_to_wait or action["kind"] == "rate"

    @rule(step=st.sampled_from((None, *ORIGIN_TROUBLES)))
    def origin_fails(self, step: Step | None) -> None:
        if step is None:
            self.relay.down = True
        else:
            self.surroundings.relay.trouble = step
        self.origin_trouble = True

    @precondition(lambda self: self.telegram_trouble or self.origin_trouble)
    @rule()
    def heal(self) -> None:
        self.relay.down = False
        self.surroundings.relay.trouble = PASS
        self.standin.control.clear_faults()
        if self.told_to_wait:
            # A new process knows nothing of that.
            self.run(self._restart(empty_caches=False))
        self.telegram_trouble = self.origin_trouble = self.told_to_wait = False

    @rule(empty_caches=st.booleans())
    def restart(self, empty_caches: bool) -> None:
        self.run(self._restart(empty_caches=empty_caches))

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

    @invariant()
    def all_agree(self) -> None:
        """What was touched reads as the model says, and so does each listing."""
        touched, self.touched = sorted(self.touched), set()
        for place in touched:
            # A GET of what only the origin has would order its copy, and soon everything would have moved.
            method = "GET" if place in self.model.here else "HEAD"
            self.check(place, self.try_to_get(place, method), head=method == "HEAD")
        self.touched.clear()
        self.listings_are_as_the_model_says()

    def listings_are_as_the_model_says(self) -> None:
        for bucket in (IMAGES, ALONE):
            assert self.listed(bucket, "list-type=2") in (None, self.model.listed(bucket))

    @rule(
        bucket=st.sampled_from((IMAGES, ALONE)),
        version=st.sampled_from((1, 2)),
        delimiter=st.sampled_from(("", "/", "c")),
        prefix=st.sampled_from(("", "a", "a/", "dir/", "zz")),
        after=st.sampled_from(("", "a", "a/c", "b")),
        page=st.integers(1, 4),
    )
    def list_in_pages(self, bucket: str, version: int, delimiter: str, prefix: str, after: str, page: int) -> None:
        asked = {"delimiter": delimiter, "prefix": prefix, "max-keys": str(page)}
        asked |= {"list-type": "2", "start-after": after} if version == 2 else {"marker": after}
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(asked.items()) if value)
        expected = self.model.listed(bucket, prefix=prefix, delimiter=delimiter, after=after)
        assert self.listed(bucket, query) in (None, expected)

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
    return list((folder / "spool").iterdir())


@pytest.fixture
def surroundings(origin_server: OriginServer) -> Iterator[Surroundings]:
    there = Origin(f"http://127.0.0.1:{origin_server.port}", ORIGIN_KEY.access_key_id, ORIGIN_KEY.secret)
    relay = Relay(there)
    yield Surroundings(origin_server, relay)
    relay.stop()


def test_the_product_is_as_the_model(
    surroundings: Surroundings, quick_retries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MultipartHandlers.__init__.__kwdefaults__, "part_bytes_min", PART_BYTES_MIN)

    async def checked(*_: object, **__: object) -> list[Any]:
        return []

    # What is looked at once at each start has tests of its own, and takes longer than all the rest of a start.
    monkeypatch.setattr("addon.composition.check_all", checked)

    class InFrontOfMoto(Bucket):
        pass

    InFrontOfMoto.surroundings = surroundings
    examples = int(os.environ.get(LONG_RUN, "0"))
    run_state_machine_as_test(
        InFrontOfMoto,
        settings=settings(
            max_examples=examples or EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=not examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
