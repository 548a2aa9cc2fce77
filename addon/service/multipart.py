"""Multipart uploads: begun, filled with parts, completed or aborted.

A part is documents in Telegram when it is acknowledged, whatever the order in which parts arrive; completing only writes the index.
An upload that the index does not know may have been begun at the origin before tgstore stood in front of it, and goes on there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Mapping, Sequence

from addon.s3.checksums import CHECKSUM_PREFIX, ExpectedDigests
from addon.s3.errors import S3Error
from addon.s3.metadata import new_object_headers
from addon.s3.multipart import (
    ABOUT_THE_OBJECT,
    PART_BYTES_MIN,
    PARTS_MAX,
    ChecksumPlan,
    Expected,
    ListedPart,
    check_part_algorithm,
    checksum_plan,
    chosen_parts,
    is_made_here,
    multipart_etag,
    new_upload_id,
    object_checksums,
    request_sha256,
)
from addon.s3.multipart_xml import COMPLETE_BODY_BYTES_MAX, PartsPage, completed, initiated, parse_part_list, part_list
from addon.s3.query import parameters
from addon.service.authorize import Call
from addon.service.body import VerifiedBody, whole_body
from addon.service.conditions import Conditions, refusal
from addon.service.forward import Forwarder
from addon.service.origin_only import OriginOnly, in_headers
from addon.service.request import Answer
from addon.service.slow_answers import answer_when_done
from addon.service.upload_slots import UploadSlots
from addon.store.multipart import CompletedUpload, Completion, MultipartUpload
from addon.store.object_store import ObjectStore
from addon.store.ports import PartsChanged, UploadGone, WriteRefused
from addon.store.records import ObjectRecord

PART_BYTES_MAX = 5 << 30

# A body of CreateMultipartUpload has no meaning; a longer one is refused.
CREATE_BODY_BYTES_MAX = 1 << 16

# Parts may be uploaded anew while a completion is computed; after this many times the client is told.
COMPLETIONS_MAX = 5

_NOT_TAKEN_AT_THE_BEGINNING = frozenset({"if-match", "if-none-match"})
_CUSTOMER_KEY = "x-amz-server-side-encryption-customer-"


class MultipartHandlers:
    """CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload and ListParts.

    Parts above `part_bytes_max` bytes are refused unread; every part of an object but the last has `part_bytes_min` bytes or more.
    """

    def __init__(
        self,
        store: ObjectStore,
        forwarder: Forwarder,
        slots: UploadSlots,
        conditions: Conditions,
        origin_only: OriginOnly,
        *,
        part_bytes_max: int = PART_BYTES_MAX,
        part_bytes_min: int = PART_BYTES_MIN,
    ) -> None:
        self._store, self._forwarder, self._slots, self._conditions = store, forwarder, slots, conditions
        self._origin_only = origin_only
        self._part_bytes_max, self._part_bytes_min = part_bytes_max, part_bytes_min

    async def create(self, call: Call) -> Answer:
        """CreateMultipartUpload."""
        if call.verified is None:
            raise access_denied()
        if self._origin_only.takes(call):
            return await self._forwarder.forward(in_headers(call))
        for name, _ in call.headers:
            if name in _NOT_TAKEN_AT_THE_BEGINNING:
                raise S3Error(
                    "NotImplemented",
                    "A header you provided implies functionality that is not implemented",
                    details={"Header": name},
                )
        headers, plan = new_object_headers(call.headers), checksum_plan(call.headers)
        await whole_body(_with_a_document(call), bytes_max=CREATE_BODY_BYTES_MAX)
        now_s = self._store.now_s()
        upload = MultipartUpload(
            upload_id=new_upload_id(now_s, secrets.token_urlsafe),
            bucket=call.bucket.name,
            key=call.target.key,
            initiated_at_s=int(now_s),
            headers=headers.stored,
            anonymous_read=headers.anonymous_read,
            tags=headers.tags,
            checksum_algorithm=plan.algorithm,
            checksum_type=plan.type,
        )
        await self._store.index.create_upload(upload)
        return _xml(initiated(upload.bucket, upload.key, upload.upload_id), plan.headers)

    async def upload_part(self, call: Call) -> Answer:
        """UploadPart: verified, stored in Telegram, in the index; then acknowledged."""
        self.check_part_headers(call)
        upload = await self._open(call)
        if upload is None:
            return await self._elsewhere(call)
        plan = plan_of(upload)
        body = self._part_body(call, plan)
        with self._slots.one():
            return await self._store_part(upload, call, body, plan)

    def check_part_headers(self, call: Call) -> None:
        """Everything of an UploadPart that its headers alone show to be wrong. Raises S3Error."""
        self._part_body(call, ChecksumPlan())
        for name, _ in call.headers:
            if name.startswith(_CUSTOMER_KEY):
                raise S3Error(
                    "InvalidRequest",
                    "The multipart upload initiate requested no encryption with a key of the customer. Subsequent part requests "
                    "must include no such parameters.",
                )

    def _part_body(self, call: Call, plan: ChecksumPlan) -> VerifiedBody:
        if call.verified is None:
            raise access_denied()
        expected = ExpectedDigests.from_headers(call.headers)
        check_part_algorithm(plan, _declared(expected))
        return VerifiedBody(
            call.request,
            call.headers,
            call.verified,
            bytes_max=self._part_bytes_max,
            want=frozenset({plan.computed}),
        )

    async def _store_part(self, upload: MultipartUpload, call: Call, body: VerifiedBody, plan: ChecksumPlan) -> Answer:
        number = call.target.part_number
        assert number is not None  # noqa: S101 -- without it the target is no UploadPart
        async with self._store.upload(upload.bucket, upload.key, body.digests.update) as taken:
            async with contextlib.aclosing(body.pieces()) as pieces:
                async for piece in pieces:
                    await taken.write(piece)
            await taken.seal()
            checked = {name: value for name, value in body.check().items() if name != "type"}
            checksums = {**checked, plan.computed: body.digests.checksum(plan.computed)}
            part = await self._store.commit_part(
                taken, upload.upload_id, number, md5_hex=body.digests.md5_hex(), checksums=checksums
            )
        told = _declared(ExpectedDigests.from_headers(call.headers)) or plan.computed
        return Answer(
            200,
            [
                ("etag", f'"{part.md5_hex}"'),
                (CHECKSUM_PREFIX + told, checksums[told]),
                ("content-length", "0"),
            ],
        )

    async def complete(self, call: Call) -> Answer:
        """CompleteMultipartUpload. The same request gets the same answer again, also where another one was quicker."""
        expected = self.check_complete_headers(call)
        upload = await self._open(call)
        if upload is None and await self._completed(call) is None:
            if not may_be_at_origin(call):
                raise no_such_upload(call)
            return await self._origin_only.write(call)
        failure: UploadGone | S3Error = no_such_upload(call)
        if upload is not None:
            await self._refuse_early(call)
        listed = parse_part_list(await whole_body(_with_a_document(call), bytes_max=COMPLETE_BODY_BYTES_MAX))

        async def done() -> bytes:
            told = failure
            if upload is not None:
                try:
                    record = await self._complete(call, upload, listed, expected)
                    return _completed_document(call, record.etag, record.checksums)
                except (UploadGone, S3Error) as refused:
                    told = refused
            former = await self._completed(call)
            if former is None or former.request_sha256 != request_sha256(listed):
                raise told
            return _completed_document(call, former.etag, former.checksums)

        # Long where the origin has to have the object as well.
        return await answer_when_done(call.request, done)

    def check_complete_headers(self, call: Call) -> Expected:
        """What the headers say of the object. Raises S3Error where they alone are wrong."""
        if call.verified is None:
            raise access_denied()
        self._conditions.has_condition(call)
        return Expected.from_headers(call.headers)

    async def _refuse_early(self, call: Call) -> None:
        """Judge the condition before the body is read; but not where this very request made the object that stands in the way."""
        try:
            await self._conditions.of_write(call)
        except S3Error:
            if await self._completed(call) is None:
                raise

    async def _complete(
        self, call: Call, upload: MultipartUpload, listed: Sequence[ListedPart], expected: Expected
    ) -> ObjectRecord:
        """Raises S3Error, `UploadGone`, and `PartsChanged` where parts never stay the same."""
        for attempt in range(COMPLETIONS_MAX):
            completion = await self._completion(upload, listed, expected)
            condition = await self._conditions.of_write(call)
            try:
                return await self._store.commits.complete_upload(completion, condition=condition)
            except WriteRefused as error:
                raise refusal(error, upload.key, condition) from None
            except PartsChanged:
                if attempt == COMPLETIONS_MAX - 1:
                    raise
        raise AssertionError("unreachable")

    async def _completion(
        self, upload: MultipartUpload, listed: Sequence[ListedPart], expected: Expected
    ) -> Completion:
        plan = plan_of(upload)
        held = await self._store.index.parts(upload.upload_id, after=0, limit=PARTS_MAX)
        parts = chosen_parts(
            listed,
            {part.number: part for part in held},
            plan,
            upload_id=upload.upload_id,
            part_bytes_min=self._part_bytes_min,
        )
        checksums = object_checksums(parts, plan)
        expected.check(parts, plan, checksums)
        return Completion(
            upload_id=upload.upload_id,
            parts=parts,
            etag=multipart_etag(parts),
            checksums=checksums,
            last_modified_s=int(self._store.now_s()),
            request_sha256=request_sha256(listed),
        )

    async def abort(self, call: Call) -> Answer:
        """AbortMultipartUpload: what was uploaded becomes garbage."""
        if call.verified is None:
            raise access_denied()
        upload = await self._open(call)
        if upload is None:
            return await self._elsewhere(call)
        await self._store.index.abort_upload(upload.upload_id)
        return Answer(204)

    async def list_parts(self, call: Call) -> Answer:
        """ListParts."""
        if call.verified is None:
            raise access_denied()
        page = PartsPage.asked(call.request.raw_query)
        upload = await self._open(call)
        if upload is None:
            return await self._elsewhere(call)
        found = await self._store.index.parts(upload.upload_id, after=page.marker, limit=page.parts_max + 1)
        return _xml(
            part_list(
                page,
                found[: page.parts_max],
                truncated=len(found) > page.parts_max > 0,
                bucket=upload.bucket,
                key=upload.key,
                upload_id=upload.upload_id,
                storage_class=storage_class(upload),
                plan=plan_of(upload),
            )
        )

    async def _open(self, call: Call) -> MultipartUpload | None:
        """The open upload that the call names, if it is one of this bucket and key."""
        upload = await self._store.index.upload(upload_id_of(call))
        same = upload is not None and (upload.bucket, upload.key) == (call.bucket.name, call.target.key)
        return upload if same else None

    async def _completed(self, call: Call) -> CompletedUpload | None:
        """What the upload that the call names has become, if it was one of this bucket and key."""
        former = await self._store.index.completed_upload(upload_id_of(call))
        same = former is not None and (former.bucket, former.key) == (call.bucket.name, call.target.key)
        return former if same else None

    async def _elsewhere(self, call: Call) -> Answer:
        """An upload that is not open here may be one that was begun at the origin. Raises NoSuchUpload where it cannot be."""
        if not may_be_at_origin(call):
            raise no_such_upload(call)
        return await self._forwarder.forward(call)


def upload_id_of(call: Call) -> str:
    """The upload id that the query names."""
    return next((value for name, value in parameters(call.request.raw_query) if name == "uploadId"), "")


def may_be_at_origin(call: Call) -> bool:
    """Whether the upload that the call names, and that is not open here, may be open at the origin: one of ours has ended then."""
    return call.bucket.origin is not None and not is_made_here(upload_id_of(call))


def plan_of(upload: MultipartUpload) -> ChecksumPlan:
    """The checksum that the upload's object will have."""
    return ChecksumPlan(upload.checksum_algorithm, upload.checksum_type)


def storage_class(upload: MultipartUpload) -> str:
    """The storage class that the upload's object will have."""
    return upload.headers.get("x-amz-storage-class", "STANDARD")


def no_such_upload(call: Call) -> S3Error:
    """404, with the upload id."""
    return S3Error(
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
        details={"UploadId": upload_id_of(call)},
    )


def access_denied() -> S3Error:
    """403 for who is not verified."""
    return S3Error("AccessDenied", "Access Denied")


def _declared(expected: ExpectedDigests) -> str | None:
    """The algorithm of the checksum that a request brings."""
    return expected.algorithm if expected.value is not None or expected.in_trailer else None


def _with_a_document(call: Call) -> Call:
    """The call without the headers that promise something of an object: its body is a document about one."""
    headers = [(name, value) for name, value in call.headers if name not in ABOUT_THE_OBJECT]
    return dataclasses.replace(call, headers=headers)


def _completed_document(call: Call, etag: str, checksums: Mapping[str, str]) -> bytes:
    # The scheme that the client used is not known here. S3's own answer has https.
    location = f"https://{call.request.host}{call.request.raw_path}"
    return completed(location, call.bucket.name, call.target.key, etag, checksums)


def _xml(body: bytes, headers: Sequence[tuple[str, str]] = ()) -> Answer:
    return Answer(200, [*headers, ("content-type", "application/xml"), ("content-length", str(len(body)))], body)
