"""DeleteObjects: many keys in one request, each with an outcome of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from urllib.parse import quote

from addon.s3.checksums import ExpectedDigests
from addon.s3.delete_objects import (
    DELETE_BYTES_MAX,
    Deleted,
    DeleteRequest,
    KeyToDelete,
    NotDeleted,
    key_error,
    parse_delete,
    result_xml,
)
from addon.s3.errors import S3Error
from addon.s3.keys import encode_key
from addon.s3.operations import Operation, Target
from addon.s3.xml import only_text, parse_xml
from addon.service.authorize import Call
from addon.service.body import whole_body
from addon.service.conditions import Conditions, refusal
from addon.service.failures import s3_error
from addon.service.forward import Forwarder
from addon.service.reads import is_the_version
from addon.service.request import Answer
from addon.service.upload_slots import UploadSlots
from addon.store.conditions import Verdict, WriteCondition
from addon.store.listed import Deletion
from addon.store.object_store import ObjectStore
from addon.store.ports import StoreError, WriteRefused
from addon.store.records import Tombstone

# Requests at once, each of which holds its body and what was parsed of it; more are told to slow down.
REQUESTS_MAX = 16
# Requests to the origin at once for one DeleteObjects.
ORIGIN_REQUESTS_MAX = 16
# What a DeleteObjects says of each of its versions, for the origin to follow.
ABOUT_VERSIONS = frozenset({"x-amz-bypass-governance-retention", "x-amz-request-payer"})
# How often a key whose place changed between the question to the origin and the delete is asked about.
ATTEMPTS_MAX = 3

Outcome = Deleted | NotDeleted


class DeletionHandlers:
    """DeleteObjects."""

    def __init__(self, store: ObjectStore, forwarder: Forwarder, conditions: Conditions) -> None:
        self._store, self._forwarder, self._conditions = store, forwarder, conditions
        self._slots = UploadSlots(REQUESTS_MAX)
        self._parsing = asyncio.Semaphore(1)  # a document takes many times its size in memory while it is parsed

    async def delete_objects(self, call: Call) -> Answer:
        """DeleteObjects: tombstones for current objects in one transaction, other versions at the origin."""
        self.check_headers(call)
        with self._slots.one():
            request = await self._request(call)
            outcomes = await self._delete(call, request)
        body = result_xml(outcomes, quiet=request.quiet)
        return Answer(200, [("content-type", "application/xml"), ("content-length", str(len(body)))], body)

    def check_headers(self, call: Call) -> None:
        """Everything that can be judged before the body. Raises S3Error."""
        if call.verified is None:
            raise S3Error("AccessDenied", "Access Denied")
        if call.header("x-amz-mfa") is not None:
            raise S3Error("NotImplemented", "Deleting with multi-factor authentication is not implemented by tgstore.")
        promised = ExpectedDigests.from_headers(call.headers)
        if promised.content_md5 is None and promised.value is None and not promised.in_trailer:
            raise S3Error("InvalidRequest", "Missing required header for this request: Content-MD5")

    async def _request(self, call: Call) -> DeleteRequest:
        body = await whole_body(call, bytes_max=DELETE_BYTES_MAX)
        async with self._parsing:
            return await asyncio.to_thread(parse_delete, body)

    async def _delete(self, call: Call, request: DeleteRequest) -> Sequence[Outcome]:
        """The outcome of each key, in the request's order."""
        outcomes: dict[int, Outcome] = {}
        here: list[int] = []
        at_origin: list[int] = []
        for place, wanted in enumerate(request.keys):
            if (error := key_error(wanted.key)) is not None:
                outcomes[place] = _failed(wanted, error)
            elif wanted.version_id is None or await self._is_current(call, wanted):
                here.append(place)
            else:
                at_origin.append(place)

        async def delete_version(place: int) -> None:
            outcomes[place] = await self._delete_version(call, request.keys[place])

        await _each(at_origin, delete_version)
        for attempt in range(1, ATTEMPTS_MAX + 1):
            tried = await self._delete_here(call, {place: request.keys[place] for place in here})
            outcomes |= {place: outcome for place, outcome in tried.items() if outcome is not None}
            here = [place for place, outcome in tried.items() if outcome is None]
            if not here:
                break
            if attempt == ATTEMPTS_MAX:
                conflict = refusal(WriteRefused(Verdict.CONFLICT))
                outcomes |= {place: _failed(request.keys[place], conflict) for place in here}
        return [outcomes[place] for place in range(len(request.keys))]

    async def _is_current(self, call: Call, wanted: KeyToDelete) -> bool:
        """Whether the version that is to be deleted is the current one here."""
        state = await self._store.state(call.bucket.name, wanted.key)
        return is_the_version(_delete_of_version(call, wanted), state)

    async def _delete_here(self, call: Call, keys: dict[int, KeyToDelete]) -> dict[int, Outcome | None]:
        """One transaction for all of them; None for a key that has to be looked at anew."""
        bucket = call.bucket.name
        conditions: dict[int, WriteCondition] = {}
        outcomes: dict[int, Outcome | None] = {}

        async def ask(place: int) -> None:
            wanted = keys[place]
            condition = WriteCondition(etag=wanted.etag, size=wanted.size, last_modified_s=wanted.last_modified_s)
            try:
                conditions[place] = await self._conditions.with_facts(bucket, wanted.key, condition)
            except S3Error as error:
                outcomes[place] = _failed(wanted, error)
            except StoreError as failure:
                outcomes[place] = _failed(wanted, s3_error(failure))

        await _each([place for place, wanted in keys.items() if wanted.is_conditional], ask)
        places = [place for place in keys if place not in outcomes]
        deletions = [Deletion(keys[place].key, conditions.get(place)) for place in places]
        if deletions:
            results = await self._store.commits.delete_objects(bucket, deletions, now_s=self._store.now_s())
            outcomes |= {place: _judged(keys[place], result) for place, result in zip(places, results, strict=True)}
        return outcomes

    async def _delete_version(self, call: Call, wanted: KeyToDelete) -> Outcome:
        if wanted.is_conditional:
            message = "A condition on a version is not implemented by tgstore."
            return _failed(wanted, S3Error("NotImplemented", message))
        if call.bucket.origin is None:
            return _failed(wanted, S3Error("NoSuchVersion", "The specified version does not exist."))
        try:
            answer = await self._forwarder.forward(_delete_of_version(call, wanted))
        except S3Error as error:
            return _failed(wanted, error)
        except StoreError as failure:
            return _failed(wanted, s3_error(failure))
        if 200 <= answer.status < 300:
            told = dict(answer.headers)
            is_marker = told.get("x-amz-delete-marker", "").lower() == "true"
            return Deleted(wanted.key, wanted.version_id, told.get("x-amz-version-id") if is_marker else None)
        code, message = _told_error(answer)
        return NotDeleted(wanted.key, wanted.version_id, code, message)


def _judged(wanted: KeyToDelete, result: Tombstone | StoreError | S3Error) -> Outcome | None:
    """None where the key changed its place, and has to be looked at anew."""
    if isinstance(result, S3Error):
        return _failed(wanted, result)
    if isinstance(result, StoreError) and not isinstance(result, WriteRefused):
        return _failed(wanted, s3_error(result))
    if isinstance(result, Tombstone) or result.verdict is Verdict.MISSING:
        # What is not there needs no deleting: S3 says that it is deleted, whatever the condition.
        return Deleted(wanted.key, wanted.version_id)
    return None if result.verdict is Verdict.CONFLICT else _failed(wanted, refusal(result))


async def _each(places: Sequence[int], work: Callable[[int], Awaitable[None]]) -> None:
    """`work` for all of them, `ORIGIN_REQUESTS_MAX` at once."""
    left = iter(places)

    async def worker() -> None:
        for place in left:
            await work(place)

    async with asyncio.TaskGroup() as workers:
        for _ in range(min(ORIGIN_REQUESTS_MAX, len(places))):
            workers.create_task(worker())


def _delete_of_version(call: Call, wanted: KeyToDelete) -> Call:
    """The DELETE of one version, as the client could have sent it."""
    raw_key, version_id = encode_key(wanted.key), wanted.version_id or ""
    headers = [(name, value) for name, value in call.headers if name in ABOUT_VERSIONS]
    request = replace(
        call.request,
        method="DELETE",
        raw_path=f"/{raw_key}",
        raw_query=f"versionId={quote(version_id, safe='')}",
        headers=headers,
    )
    target = Target(call.target.bucket, wanted.key, raw_key, Operation.DELETE_OBJECT, version_id=version_id)
    return replace(call, request=request, target=target, headers=headers)


def _failed(wanted: KeyToDelete, error: S3Error) -> NotDeleted:
    return NotDeleted(wanted.key, wanted.version_id, error.code, error.message)


def _told_error(answer: Answer) -> tuple[str, str]:
    """Code and message of the origin's refusal."""
    body = answer.body if isinstance(answer.body, bytes) else b""
    try:
        root = parse_xml(body, root="Error")
        code, message = only_text(root, "Code"), only_text(root, "Message")
    except S3Error:
        code = message = None
    return code or "InternalError", message or f"The origin answered {answer.status}."
