"""What may be answered within the hook, and what is left to the object service."""

from __future__ import annotations

from typing import cast

import pytest

from addon.proxy.memory import AtHand, answer_from_memory
from addon.proxy.routes import Claim, Route
from addon.proxy.switch import Routing, Seen
from addon.store.object_store import ObjectStore
from addon.store.records import ObjectRecord, Provenance, Tombstone

BODY = b"0123456789"
HELD = ObjectRecord("images", "k", 1, len(BODY), "e1", 1_700_000_000, Provenance.WRITTEN_HERE, True)


class Memory:
    """An object store whose bytes are at hand, or not."""

    def __init__(self, whole: bytes | None) -> None:
        self.whole = whole

    def in_memory(self, record: ObjectRecord) -> bytes | None:
        return self.whole


def asked(
    method: str = "GET",
    *headers: tuple[str, str],
    query: str = "",
    state: ObjectRecord | Tombstone | None = HELD,
    whole: bytes | None = BODY,
) -> AtHand | None:
    seen = Seen(method, "img.test", "/k", query, list(headers))
    routing = Routing(Route.MEMORY, Claim.ANONYMOUS, None, state)
    return answer_from_memory(cast(ObjectStore, Memory(whole)), routing, seen)


@pytest.mark.parametrize(
    ("method", "headers", "status", "body"),
    [
        ("GET", (), 200, BODY),
        ("HEAD", (), 200, b""),
        ("GET", (("range", "bytes=2-4"),), 206, b"234"),
        ("GET", (("range", "bytes=-3"),), 206, b"789"),
        ("GET", (("if-none-match", '"e1"'),), 304, b""),
        ("GET", (("if-match", '"e1"'),), 200, BODY),
    ],
)
def test_answer_is_whole(method: str, headers: tuple[tuple[str, str], ...], status: int, body: bytes) -> None:
    answer = asked(method, *headers)
    assert answer is not None
    assert (answer.status, answer.body) == (status, body)
    length = dict(answer.headers).get("content-length")
    assert length == (None if status == 304 else str(len(body or BODY)))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_has_no_body_needs_no_bytes(method: str) -> None:
    answer = asked(method, ("if-none-match", "*"), whole=None)
    assert answer is not None
    assert answer.status == 304


@pytest.mark.parametrize(
    "left",
    [
        asked(whole=None),
        asked(state=None),
        asked(state=Tombstone("images", "k", 2, 0)),
        asked("GET", ("range", "bytes=99-")),
        asked("GET", ("if-match", '"other"')),
        asked(query="response-content-type=text/html"),
        asked("GET", ("x-amz-server-side-encryption-customer-algorithm", "AES256")),
    ],
)
def test_everything_else_is_the_object_services(left: AtHand | None) -> None:
    assert left is None
