"""The product against a model, driven at random: writes, copies, multipart uploads, reads, listings, an origin that changes, writes
that go past us, failures of Telegram and of the origin, restarts.

After each step everything that can be asked without changing anything is asked of both. STATE_MACHINE_EXAMPLES makes a
longer run of that many examples, with another seed each time.
"""

from __future__ import annotations

import asyncio
import html
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from addon.service.multipart import MultipartHandlers
from addon.store.ports import WriteOutcome
from addon.store.records import ObjectRecord
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.relay import Relay, Step
from tests.service.fixtures import OriginServer
from tests.service.model import Held, Place, Upload, held
from tests.service.modelled_product import DEFAULT_TYPE, KEYS, ModelledProduct, Surroundings, content_md5, matches
from tests.service.product import ALONE, IMAGES, ORIGIN_KEY, eventually

pytestmark = pytest.mark.slow

LONG_RUN = "STATE_MACHINE_EXAMPLES"
EXAMPLES, STEPS = 10, 30
PART_BYTES_MIN = 5

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


class Bucket(ModelledProduct):
    """What happens to a bucket."""

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
        met, unmet = ("absent", 404) if current is None else ("this", 412)
        expected = 200 if want == met else unmet
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

    # --- The origin

    @rule(key=keys, body=bodies, given=headers)
    def origin_changes(self, key: str, body: bytes, given: dict[str, str]) -> None:
        """Behind our back: promised to be seen only for keys that have not moved."""
        self.settle()
        self.put_at_origin(key, body, given)

    @rule(key=keys, body=bodies, given=headers)
    def an_old_object_moves(self, key: str, body: bytes, given: dict[str, str]) -> None:
        """All the way, so that what follows meets keys which have moved; unless the key is decided here already."""
        self.settle()
        self.put_at_origin(key, body, given)
        self.get((IMAGES, key))
        self.settle()

    @rule(key=keys)
    def origin_forgets(self, key: str) -> None:
        self.settle()
        self.forget_at_origin(key)

    @rule(key=keys, body=bodies)
    def origin_changes_while_it_is_copied(self, key: str, body: bytes) -> None:
        """One version or the other is copied, never a mixture."""
        place = (IMAGES, key)
        self.settle()
        if place in self.model.here or place in self.model.deleted or self.model.visible(place) is None:
            return
        self.get(place)
        former = self.model.origin[place]
        self.put_at_origin(key, body, {})
        self.run(eventually(self.copies_are_over))
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

    @rule(
        key=keys,
        body=bodies,
        outcome=st.sampled_from(list(WriteOutcome)),
        arrives=st.booleans(),
        meanwhile=st.sampled_from(("nothing", "nothing", "read", "put", "delete", "conditional put")),
        one_that_moved=st.booleans(),
    )
    def write_past_us(
        self, key: str, body: bytes, outcome: WriteOutcome, arrives: bool, meanwhile: str, one_that_moved: bool
    ) -> None:
        """Somebody with a key pair of the origin's writes there, through us. `UNKNOWN`: its answer never came, and it may have
        arrived or not."""
        if one_that_moved and self.model.copied:
            _, key = min(self.model.copied)
        place = (IMAGES, key)
        writes = self.product.gateway._passages._origin_writes
        write = self.run(writes.begin(IMAGES, key))
        if meanwhile == "read":
            self.get(place)
        before = dict(self.model.origin)
        overruled = False
        if outcome is WriteOutcome.ACCEPTED or (outcome is WriteOutcome.UNKNOWN and arrives):
            self.put_at_origin(key, body, {})
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
    def trouble_ends(self) -> None:
        self.heal()

    @rule(empty_caches=st.booleans())
    def restart(self, empty_caches: bool) -> None:
        self.run(self.restarted(empty_caches=empty_caches))

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

    # --- What must hold

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


@pytest.fixture
def surroundings(origin_server: OriginServer) -> Iterator[Surroundings]:
    there = Origin(f"http://127.0.0.1:{origin_server.port}", ORIGIN_KEY.access_key_id, ORIGIN_KEY.secret)
    relay = Relay(there)
    yield Surroundings(origin_server, relay)
    relay.stop()


@pytest.mark.parametrize("ack", ["telegram", "spool"])
def test_the_product_is_as_the_model(
    surroundings: Surroundings, quick_retries: None, monkeypatch: pytest.MonkeyPatch, ack: str
) -> None:
    monkeypatch.setitem(MultipartHandlers.__init__.__kwdefaults__, "part_bytes_min", PART_BYTES_MIN)

    async def checked(*_: object, **__: object) -> list[Any]:
        return []

    # What is looked at once at each start has tests of its own, and takes longer than all the rest of a start.
    monkeypatch.setattr("addon.composition.check_all", checked)

    class InFrontOfMoto(Bucket):
        pass

    InFrontOfMoto.surroundings = surroundings
    InFrontOfMoto.settings = {"store": f'ack = "{ack}"'}
    examples = int(os.environ.get(LONG_RUN, "0"))
    run_state_machine_as_test(
        InFrontOfMoto,
        settings=settings(
            max_examples=examples or EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=not examples,
            # Making a failing example small takes minutes, each time; the long run is where that is worth it.
            phases=tuple(Phase) if examples else (Phase.explicit, Phase.generate),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
