"""Writing an object that is in Telegram to the origin, so that it becomes the same there: bytes, headers, tags, and ETag.

The ETag of an object that was uploaded in parts tells the MD5s of its parts, so it goes out in the same parts again. An object is
whole at the origin or not there: an upload in parts that fails is aborted. The bytes never come from the origin itself.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html, API_CreateMultipartUpload.html, API_UploadPart.html,
API_CompleteMultipartUpload.html (which may say 200 and fail in its body).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from urllib.parse import quote
from xml.etree.ElementTree import Element

from addon.s3.acl import CANNED
from addon.s3.checksums import CHECKSUM_PREFIX, DIGEST_BYTES, BodyDigests
from addon.s3.errors import S3Error
from addon.s3.keys import encode_key
from addon.s3.metadata import etag_is_md5, headers_for_upload
from addon.s3.multipart import CHECKSUM_TYPE, FULL_OBJECT
from addon.s3.multipart_xml import checksum_nodes
from addon.s3.tags import tagging_header
from addon.s3.xml import Node, document, parse_xml
from addon.store.object_store import ObjectStore
from addon.store.origin_parts import PlannedPart, planned_parts
from addon.store.ports import Origin, OriginChanged, OriginRefused, OriginRequest, OriginResponse, OriginUnavailable
from addon.store.records import ObjectPart, ObjectRecord
from addon.store.retrying import Retries

logger = logging.getLogger(__name__)

# What the origin answers to the steps of an upload is short.
ANSWER_BYTES_MAX = 1 << 20
# An upload that failed is aborted within this time, or its leftover is named in the log.
ABORT_LIMIT_S = 30.0
# Each part is tried so often, so that an object of many parts need not begin anew.
PART_RETRIES = Retries(attempts_max=3)

_PLAIN = [("accept-encoding", "identity")]

# What an origin may refuse without refusing the object: the header, the codes that say so (Ceph RGW has the general ones, for a
# class that it does not know, and for encryption over a connection without TLS), and what is said of it then.
_GIVEN_UP: tuple[tuple[str, frozenset[str], str], ...] = (
    (CANNED, frozenset({"AccessControlListNotSupported"}), "the ACL public-read: the origin takes no ACLs"),
    (
        "x-amz-storage-class",
        frozenset({"InvalidStorageClass", "InvalidArgument"}),
        "the storage class: the origin does not take it",
    ),
    (
        "x-amz-server-side-encryption",
        frozenset({"NotImplemented", "InvalidEncryptionAlgorithmError", "InvalidArgument", "InvalidRequest"}),
        "the encryption AES256: the origin does not take it",
    ),
)

# Not every server knows every checksum. Where its codes fit nothing else they are left out; MD5 still guards the transfer.
_NO_CHECKSUMS = frozenset({"InvalidArgument", "InvalidRequest", "NotImplemented"})

Observe = Callable[[bytes], None]


async def upload_to_origin(
    store: ObjectStore,
    origin: Origin,
    record: ObjectRecord,
    parts: Sequence[ObjectPart],
    *,
    condition: tuple[str, str] | None = None,
    part_retries: Retries = PART_RETRIES,
) -> Sequence[str]:
    """Write `record` (with its extents; it need not be in the index yet) to the origin. `parts` are those of an object with a
    `parts_count`, else empty. `condition` is an If-Match or If-None-Match header that the origin is to judge by; one that knows no
    such conditions gets none.

    Returns what the origin refused to take along, in words; mostly nothing. Raises `OriginUnavailable`, `OriginChanged` (the
    condition does not hold, or other bytes arrived), `OriginRefused`, and what reading here raises.
    """
    upload = _Upload(
        store,
        origin,
        record,
        planned_parts(record, parts),
        headers={
            **headers_for_upload(record.headers),
            **({"x-amz-tagging": tagging_header(record.tags)} if record.tags else {}),
            **({CANNED: "public-read"} if record.anonymous_read else {}),
        },
        condition=condition,
        part_retries=part_retries,
    )
    while True:
        try:
            with store.holding(record):
                await upload.run()
            return tuple(upload.left_out)
        except OriginRefused as refusal:
            if not upload.give_up(refusal.code):
                raise


@dataclass
class _Upload:
    store: ObjectStore
    origin: Origin
    record: ObjectRecord
    parts: Sequence[PlannedPart]
    headers: dict[str, str]
    condition: tuple[str, str] | None
    part_retries: Retries
    left_out: list[str] = field(default_factory=list)
    with_checksums: bool = True

    @property
    def raw_key(self) -> str:
        return encode_key(self.record.key)

    def give_up(self, code: str) -> bool:
        """Leave out what the origin does not take; False where that is not what it refused."""
        for name, codes, said in _GIVEN_UP:
            if code in codes and name in self.headers:
                del self.headers[name]
                self.left_out.append(said)
                return True
        if code == "NotImplemented" and self.condition is not None:
            self.condition = None
            return True
        if code in _NO_CHECKSUMS and self.with_checksums and self._algorithms:
            self.with_checksums = False
            self.left_out.append("the checksum: the origin does not take it")
            return True
        return False

    async def run(self) -> None:
        if not self.parts:
            await self._at_once()
            return
        upload_id = await self._create()
        try:
            done = [
                await self.part_retries.run(lambda part=part: self._put_part(upload_id, part))  # type: ignore[misc]
                for part in self.parts
            ]
            await self._complete(upload_id, done)
        except BaseException:
            await self._abort(upload_id)
            raise

    async def _at_once(self) -> None:
        headers = dict(self.headers)
        if self._algorithm:
            headers |= _checksum_headers(self._algorithm, self.record.checksums[self._algorithm])
        md5_is_known = etag_is_md5(self.record.etag, self.record.headers)
        if md5_is_known:
            headers["content-md5"] = _base64_of_hex(self.record.etag)
        if self.condition is not None:
            headers[self.condition[0]] = self.condition[1]
        digests = BodyDigests()
        async with self._sent("PUT", "", headers, digests.update, 0, self.record.size) as answer:
            if answer.status != HTTPStatus.OK:
                raise await self.origin.failure(answer)
            _check_received(answer, digests)

    @property
    def _algorithms(self) -> list[str]:
        """The checksums that the object has, in the way that it goes: those of the whole, or those that all parts have too."""
        if not self.with_checksums:
            return []
        known = [algorithm for algorithm in DIGEST_BYTES if algorithm in self.record.checksums]
        if self.parts:
            return [algorithm for algorithm in known if all(algorithm in part.checksums for part in self.parts)]
        return known if self.record.checksums.get("type", FULL_OBJECT) == FULL_OBJECT else []

    @property
    def _algorithm(self) -> str:
        """The one of them that goes along, as S3 takes one; empty where there is none."""
        return next(iter(self._algorithms), "")

    async def _create(self) -> str:
        headers = dict(self.headers)
        if self._algorithm:
            headers["x-amz-checksum-algorithm"] = self._algorithm.upper()
            if "type" in self.record.checksums:
                headers[CHECKSUM_TYPE] = self.record.checksums["type"]
        request = OriginRequest("POST", self.raw_key, "uploads", [*_PLAIN, *headers.items()])
        async with self.origin.send(request) as answer:
            if answer.status != HTTPStatus.OK:
                raise await self.origin.failure(answer)
            begun = _answered(await _short_body(answer), "InitiateMultipartUploadResult")
        upload_id = begun.findtext("UploadId")
        if not upload_id:
            raise OriginUnavailable("the origin began an upload and did not name it")
        return upload_id

    async def _put_part(self, upload_id: str, part: PlannedPart) -> PlannedPart:
        algorithm = self._algorithm
        headers = _checksum_headers(algorithm, part.checksums[algorithm]) if algorithm else {}
        digests = BodyDigests()
        query = f"partNumber={part.number}&uploadId={quote(upload_id, safe='')}"
        async with self._sent("PUT", query, headers, digests.update, part.start, part.size) as answer:
            if answer.status != HTTPStatus.OK:
                raise await self.origin.failure(answer)
            _check_received(answer, digests)
            etag = (answer.header("etag") or "").strip('"')
        return replace(part, etag=etag or digests.md5_hex())

    async def _complete(self, upload_id: str, done: Sequence[PlannedPart]) -> None:
        algorithm = self._algorithm
        listed: list[Node] = [
            (
                "Part",
                [
                    ("PartNumber", part.number),
                    ("ETag", f'"{part.etag}"'),
                    *(checksum_nodes({algorithm: part.checksums[algorithm]}) if algorithm else []),
                ],
            )
            for part in done
        ]
        body = document("CompleteMultipartUpload", listed)
        while True:
            try:
                await self._send_completion(upload_id, body)
                return
            except OriginRefused as refusal:
                if refusal.code != "NotImplemented" or self.condition is None:
                    raise
                self.condition = None

    async def _send_completion(self, upload_id: str, body: bytes) -> None:
        async def once() -> AsyncGenerator[bytes, None]:
            yield body

        headers = [*_PLAIN, ("content-type", "application/xml")]
        if self.condition is not None:
            headers.append(self.condition)
        request = OriginRequest(
            "POST",
            self.raw_key,
            f"uploadId={quote(upload_id, safe='')}",
            headers,
            body=once(),
            content_length=len(body),
            payload_sha256=hashlib.sha256(body).hexdigest(),
        )
        async with self.origin.send(request) as answer:
            if answer.status != HTTPStatus.OK:
                raise await self.origin.failure(answer)
            # The ETag in it is left to the proof: Ceph RGW may name an empty one.
            _answered(await _short_body(answer), "CompleteMultipartUploadResult")

    async def _abort(self, upload_id: str) -> None:
        request = OriginRequest("DELETE", self.raw_key, f"uploadId={quote(upload_id, safe='')}", _PLAIN)
        try:
            async with asyncio.timeout(ABORT_LIMIT_S), self.origin.send(request) as answer:
                if answer.status in (HTTPStatus.NO_CONTENT, HTTPStatus.OK, HTTPStatus.NOT_FOUND):
                    return
                left = f"{answer.status}"
        except (OriginUnavailable, TimeoutError) as failure:
            left = str(failure) or "no answer in time"
        printable_key = self.record.key.encode("unicode_escape").decode()
        logger.warning("an upload of %s was left at the origin, where it can be aborted: %s", printable_key, left)

    @contextlib.asynccontextmanager
    async def _sent(
        self, method: str, query: str, headers: dict[str, str], observe: Observe, start: int, size: int
    ) -> AsyncGenerator[OriginResponse, None]:
        """The answer to a request whose body are `size` bytes from `start` of the object."""
        async with contextlib.AsyncExitStack() as stack:
            body = None
            if size:
                pieces = self.store.read_here(self.record, start, size)
                await stack.enter_async_context(contextlib.aclosing(pieces))
                body = await stack.enter_async_context(contextlib.aclosing(_observed(pieces, observe)))
            request = OriginRequest(
                method, self.raw_key, query, [*_PLAIN, *headers.items()], body=body, content_length=size
            )
            yield await stack.enter_async_context(self.origin.send(request))


async def _observed(pieces: AsyncGenerator[bytes, None], observe: Observe) -> AsyncGenerator[bytes, None]:
    async for piece in pieces:
        await asyncio.to_thread(observe, piece)
        yield piece


def _check_received(answer: OriginResponse, digests: BodyDigests) -> None:
    """An ETag that is an MD5 tells what arrived. Raises `OriginChanged`."""
    etag = (answer.header("etag") or "").strip('"')
    if etag_is_md5(etag, dict(answer.headers)) and etag != digests.md5_hex():
        raise OriginChanged("the origin received other bytes than were sent")


def _checksum_headers(algorithm: str, value: str) -> dict[str, str]:
    return {"x-amz-sdk-checksum-algorithm": algorithm.upper(), CHECKSUM_PREFIX + algorithm: value}


def _base64_of_hex(md5_hex: str) -> str:
    return base64.b64encode(bytes.fromhex(md5_hex)).decode("ascii")


async def _short_body(answer: OriginResponse) -> bytes:
    body = bytearray()
    async for piece in answer.body:
        body += piece
        if len(body) > ANSWER_BYTES_MAX:
            raise OriginUnavailable("the origin's answer to a step of an upload is too long")
    return bytes(body)


def _answered(body: bytes, root: str) -> Element:
    """The document of that name; a 200 that is none, or an Error, is a failure that may heal."""
    with contextlib.suppress(S3Error):
        return parse_xml(body.strip(), root=root)
    raise OriginUnavailable(f"the origin answered 200 to a step of an upload, and not with {root}")
