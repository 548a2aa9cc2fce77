"""The design's table "where a request goes", row by row, and what must hold for every row."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from addon.proxy.routes import Claim, Facts, Route, decide
from addon.s3.operations import KEY_IN_BODY, Operation
from addon.store.records import ObjectRecord, Provenance, Tombstone


def held(provenance: Provenance, *, anonymous_read: bool) -> ObjectRecord:
    return ObjectRecord("images", "k", 1, 5, "etag", 0, provenance, anonymous_read)


WRITTEN = held(Provenance.WRITTEN_HERE, anonymous_read=False)
WRITTEN_PUBLIC = held(Provenance.WRITTEN_HERE, anonymous_read=True)
COPIED = held(Provenance.COPIED_FROM_ORIGIN, anonymous_read=False)
COPIED_PUBLIC = held(Provenance.COPIED_FROM_ORIGIN, anonymous_read=True)
DELETED = Tombstone("images", "k", 1, 0)
NOTHING = None
STATES = (WRITTEN, WRITTEN_PUBLIC, COPIED, COPIED_PUBLIC, DELETED, NOTHING)

GET, HEAD, PUT, DELETE = Operation.GET_OBJECT, Operation.HEAD_OBJECT, Operation.PUT_OBJECT, Operation.DELETE_OBJECT


def facts(
    operation: Operation, claim: Claim, state: ObjectRecord | Tombstone | None = None, **changed: object
) -> Facts:
    usual: dict[str, object] = {"has_origin": True, "reject_unknown_keys": False, "anonymous_read": False}
    return Facts(operation, claim, state=state, **{**usual, **changed})  # type: ignore[arg-type]


ANONYMOUS, KNOWN, UNKNOWN = Claim.ANONYMOUS, Claim.KNOWN_KEY, Claim.UNKNOWN_KEY
MEMORY, SERVICE = Route.MEMORY, Route.SERVICE
UNTOUCHED, AS_ANONYMOUS = Route.ORIGIN_UNTOUCHED, Route.ORIGIN_ANONYMOUS

ROWS = [
    (facts(GET, KNOWN, WRITTEN), SERVICE),
    (facts(PUT, KNOWN), SERVICE),
    (facts(GET, UNKNOWN), UNTOUCHED),
    (facts(PUT, UNKNOWN, WRITTEN), UNTOUCHED),
    (facts(DELETE, UNKNOWN, DELETED), UNTOUCHED),
    (facts(PUT, UNKNOWN, WRITTEN, conditional=True), SERVICE),
    (facts(PUT, UNKNOWN, DELETED, conditional=True), SERVICE),
    (facts(DELETE, ANONYMOUS, WRITTEN, conditional=True), SERVICE),
    (facts(PUT, UNKNOWN, COPIED, conditional=True), UNTOUCHED),
    (facts(PUT, ANONYMOUS, conditional=True), AS_ANONYMOUS),
    (facts(GET, UNKNOWN, COPIED), UNTOUCHED),
    (facts(GET, UNKNOWN, COPIED_PUBLIC), UNTOUCHED),
    (facts(PUT, UNKNOWN, reject_unknown_keys=True), SERVICE),
    (facts(GET, UNKNOWN, reject_unknown_keys=True), SERVICE),
    (facts(GET, ANONYMOUS, WRITTEN_PUBLIC), MEMORY),
    (facts(HEAD, ANONYMOUS, COPIED_PUBLIC), MEMORY),
    (facts(GET, ANONYMOUS, COPIED, anonymous_read=True), MEMORY),
    (facts(GET, ANONYMOUS), AS_ANONYMOUS),
    (facts(PUT, ANONYMOUS), AS_ANONYMOUS),
    (facts(GET, ANONYMOUS, COPIED), AS_ANONYMOUS),
    (facts(GET, ANONYMOUS, anonymous_read=True), AS_ANONYMOUS),
    (facts(Operation.LIST_OBJECTS_V2, ANONYMOUS), SERVICE),
    (facts(Operation.LIST_OBJECTS, ANONYMOUS), SERVICE),
    (facts(Operation.LIST_OBJECTS_V2, UNKNOWN), UNTOUCHED),
    (facts(Operation.LIST_OBJECT_VERSIONS, ANONYMOUS), AS_ANONYMOUS),
    (facts(Operation.CORS_PREFLIGHT, ANONYMOUS, WRITTEN), AS_ANONYMOUS),
    (facts(Operation.CORS_PREFLIGHT, UNKNOWN), UNTOUCHED),
    (facts(Operation.CORS_PREFLIGHT, ANONYMOUS, has_cors_rules=True), SERVICE),
    (facts(Operation.CORS_PREFLIGHT, UNKNOWN, has_cors_rules=True), SERVICE),
    (facts(GET, ANONYMOUS, WRITTEN_PUBLIC, from_page=True), SERVICE),
    (facts(HEAD, ANONYMOUS, COPIED_PUBLIC, from_page=True), SERVICE),
    (facts(GET, ANONYMOUS, from_page=True), AS_ANONYMOUS),
    (facts(Operation.POST_OBJECT, ANONYMOUS), SERVICE),
    (facts(Operation.CREATE_MULTIPART_UPLOAD, UNKNOWN), UNTOUCHED),
    (facts(GET, ANONYMOUS, WRITTEN), SERVICE),
    (facts(GET, ANONYMOUS, DELETED), SERVICE),
    (facts(GET, UNKNOWN, WRITTEN), SERVICE),
    (facts(HEAD, UNKNOWN, DELETED), SERVICE),
    (facts(Operation.GET_OBJECT_ACL, UNKNOWN, WRITTEN), SERVICE),
    (facts(Operation.COPY_OBJECT, UNKNOWN, copy_source_state=WRITTEN), SERVICE),
    (facts(Operation.COPY_OBJECT, UNKNOWN, copy_source_state=COPIED), UNTOUCHED),
    (facts(Operation.CREATE_MULTIPART_UPLOAD, UNKNOWN, WRITTEN), UNTOUCHED),
    (facts(GET, ANONYMOUS, COPIED_PUBLIC, changing=True), AS_ANONYMOUS),
    (facts(GET, ANONYMOUS, WRITTEN_PUBLIC, changing=True), MEMORY),
    (facts(GET, ANONYMOUS, WRITTEN_PUBLIC, whole=False), SERVICE),
    (facts(GET, ANONYMOUS, COPIED_PUBLIC, whole=False), AS_ANONYMOUS),
    (facts(GET, ANONYMOUS, has_origin=False), SERVICE),
]


@pytest.mark.parametrize(
    ("given", "expected"),
    ROWS,
    ids=[f"{row[0].claim.value}-{row[0].operation.value}-{i}" for i, row in enumerate(ROWS)],
)
def test_each_row_of_the_table(given: Facts, expected: Route) -> None:
    assert decide(given) is expected


EVERYTHING = [
    facts(
        operation,
        claim,
        state,
        has_origin=has_origin,
        reject_unknown_keys=reject,
        anonymous_read=anyone,
        changing=changing,
        from_page=from_page,
    )
    for operation, claim, state, has_origin, reject, anyone, changing, from_page in itertools.product(
        Operation, Claim, STATES, (True, False), (True, False), (True, False), (True, False), (True, False)
    )
]
PASSED_THROUGH = [replace(given, passes_through=True) for given in EVERYTHING]


def test_who_signs_with_a_key_that_we_hold_is_always_verified_by_the_service() -> None:
    assert {decide(given) for given in EVERYTHING if given.claim is KNOWN} == {SERVICE}


def test_nothing_goes_to_an_origin_that_is_not_there() -> None:
    assert {decide(given) for given in EVERYTHING if not given.has_origin} == {SERVICE}


def test_a_signed_request_is_never_rewritten_and_an_anonymous_one_never_sent_with_our_host() -> None:
    assert AS_ANONYMOUS not in {decide(given) for given in EVERYTHING if given.claim is UNKNOWN}
    assert UNTOUCHED not in {decide(given) for given in EVERYTHING if given.claim is ANONYMOUS}


def test_memory_answers_only_anonymous_reads_of_what_anyone_may_read() -> None:
    for given in EVERYTHING:
        if decide(given) is MEMORY:
            assert given.claim is ANONYMOUS
            assert not given.from_page
            assert given.operation in (GET, HEAD)
            assert isinstance(given.state, ObjectRecord)
            assert given.state.anonymous_read or given.anonymous_read


def test_the_origin_is_never_asked_to_show_a_key_that_was_written_or_deleted_here() -> None:
    for given in EVERYTHING:
        if given.operation in (GET, HEAD, Operation.GET_OBJECT_TAGGING) and given.state in (
            WRITTEN,
            WRITTEN_PUBLIC,
            DELETED,
        ):
            assert decide(given) in (MEMORY, SERVICE)


def test_a_write_whose_keys_cannot_be_seen_never_passes() -> None:
    assert {decide(given) for given in EVERYTHING if given.operation in KEY_IN_BODY} == {SERVICE}


def test_in_passthrough_everything_goes_to_the_origin_as_it_came_but_what_hides_its_keys() -> None:
    for given in PASSED_THROUGH:
        if not given.has_origin or given.operation in KEY_IN_BODY:
            assert decide(given) is SERVICE
        else:
            assert decide(given) is (AS_ANONYMOUS if given.claim is ANONYMOUS else UNTOUCHED)
