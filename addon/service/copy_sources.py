"""The objects that copies are made of: who may read them, and where their bytes are.

A copy reads its source with the right of the caller, never with more: the caller's key must be one of the source bucket's, or
anyone may read the source. Before that is known nothing about the source is told, not even whether it or its bucket exists.
"""

from __future__ import annotations

import contextlib
import hmac
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from addon.s3.copies import NULL_VERSION, beyond_the_end, within
from addon.s3.copy_source import CopySource
from addon.s3.errors import S3Error
from addon.s3.keys import encode_key
from addon.s3.metadata import NotAnObject, OriginCopyHeaders, headers_from_origin
from addon.s3.ranges import ByteRange
from addon.service.authorize import Call
from addon.service.buckets import Bucket, Directory
from addon.service.origin_writes import OriginWrites
from addon.service.reads import no_such_key
from addon.store.object_store import ObjectStore
from addon.store.origin_tags import tags_at_origin
from addon.store.ports import Origin, OriginRefused, OriginRequest, OriginResponse, OriginUnavailable
from addon.store.records import ObjectRecord, Provenance, Tombstone, is_ours_alone

ERROR_BODY_BYTES_MAX = 8192
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")
_CONTENT_RANGE = re.compile(r"bytes (?P<first>\d{1,19})-(?P<last>\d{1,19})/(?P<size>\d{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """A source that is being read at the origin: `part` of an object of `size` bytes, described by `about`, streams from `body`."""

    about: OriginCopyHeaders
    size: int
    part: ByteRange
    body: AsyncIterator[bytes]


class CopySources:
    """Finds and opens sources for verified calls."""

    def __init__(
        self,
        store: ObjectStore,
        origins: Mapping[str, Origin | None],
        origin_writes: OriginWrites,
        directory: Directory,
    ) -> None:
        self._store, self._origins = store, origins
        self._origin_writes, self._directory = origin_writes, directory

    async def held(self, call: Call, source: CopySource) -> ObjectRecord | None:
        """The source as it is held here; None where it has to be opened `at_origin`.

        Raises AccessDenied for a caller who may not read it, NoSuchKey or NoSuchVersion for one who may.
        """
        bucket, by_right = self._bucket(call, source)
        has_origin = self._origins.get(bucket.name) is not None
        state = await self._store.state(bucket.name, source.key)
        if source.version_id is not None and not _is_the_version(source, state):
            self._check_other_version(source, state, by_right=by_right, has_origin=has_origin)
            return None
        if state is None or self._may_be_stale(state):
            if has_origin:
                return None
            if not (by_right or bucket.anonymous_read):
                raise _denied()
            raise no_such_key(source.key)
        if isinstance(state, Tombstone):
            if by_right or bucket.anonymous_read:
                raise no_such_key(source.key)
            raise _denied()
        if by_right or state.anonymous_read or bucket.anonymous_read:
            return state
        if has_origin and not is_ours_alone(state):
            # Whether anyone may read it there is the origin's to say, as for a read by nobody in particular.
            return None
        raise _denied()

    @contextlib.asynccontextmanager
    async def at_origin(
        self, call: Call, source: CopySource, asked: tuple[int, int] | None = None
    ) -> AsyncGenerator[OpenedSource, None]:
        """Read the source, or the range of its first and last byte in `asked`, at the origin.

        With our credentials for who has a right to it, as nobody in particular for others. Raises S3Error for a refusal of the
        origin and for a range beyond the end, `OriginUnavailable` where it gives no whole answer.
        """
        bucket, by_right = self._bucket(call, source)
        headers = [("accept-encoding", "identity"), ("x-amz-checksum-mode", "ENABLED")]
        if asked is not None:
            headers.append(("range", f"bytes={asked[0]}-{asked[1]}"))
        version = _version(source)
        query = "" if version is None else f"versionId={version}"
        request = OriginRequest("GET", encode_key(source.key), query, headers, anonymous=not by_right)
        async with self._origin(bucket).send(request) as answer:
            if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and asked is not None and by_right:
                raise beyond_the_end(asked)
            if answer.status != (HTTPStatus.OK if asked is None else HTTPStatus.PARTIAL_CONTENT):
                raise await _refusal(answer, source, by_right=by_right)
            try:
                about = headers_from_origin(answer.headers)
            except NotAnObject as reason:
                raise S3Error("InvalidRequest", f"The origin's answer describes no whole object: {reason}.") from None
            if about.size is None:
                raise OriginUnavailable("the origin gave an object without its length")
            size = about.size if asked is None else _whole_size(answer, asked)
            part = within(asked, size)
            if part.length != about.size:
                raise OriginUnavailable("the origin gave another range than the one that was asked for")
            yield OpenedSource(about, size, part, answer.body)

    def tags_here(self, call: Call, source: CopySource, held: ObjectRecord) -> Mapping[str, str]:
        """The tags of a source that is held here. Raises AccessDenied where it has some and the caller has a right to the object
        only because anyone has: tags are not part of what anyone may read."""
        _, by_right = self._bucket(call, source)
        if held.tags and not by_right:
            raise _denied()
        return held.tags

    async def tags_at_origin(self, call: Call, source: CopySource, opened: OpenedSource) -> Mapping[str, str]:
        """The tags of a source that is read at the origin. Raises AccessDenied where they may not be read, else as the origin."""
        bucket, by_right = self._bucket(call, source)
        try:
            return await tags_at_origin(
                self._origin(bucket),
                source.key,
                count=opened.about.tags_count,
                version_id=_version(source),
                anonymous=not by_right,
            )
        except OriginRefused as refused:
            raise S3Error("AccessDenied", f"The origin does not give the copy source's tags ({refused}).") from None

    def _bucket(self, call: Call, source: CopySource) -> tuple[Bucket, bool]:
        """The source's bucket, and whether the caller has a right to read it. Raises AccessDenied for a bucket that is not ours."""
        verified, bucket = call.verified, self._directory.buckets.get(source.bucket)
        if verified is None or bucket is None:
            raise _denied()
        secret = bucket.credentials.get(verified.access_key_id)
        proven = call.bucket.credentials.get(verified.access_key_id)
        # The same id with another secret would be somebody else.
        by_right = secret is not None and proven is not None and hmac.compare_digest(secret.encode(), proven.encode())
        return bucket, by_right

    def _check_other_version(
        self, source: CopySource, state: ObjectRecord | Tombstone | None, *, by_right: bool, has_origin: bool
    ) -> None:
        if not by_right:
            raise _denied()
        # The version `null` of a key that was deleted here is gone with it. The origin's other versions never change.
        if not has_origin or (is_ours_alone(state) and source.version_id == NULL_VERSION):
            raise _no_such_version(source)

    def _may_be_stale(self, state: ObjectRecord | Tombstone) -> bool:
        return (
            isinstance(state, ObjectRecord)
            and state.provenance is Provenance.COPIED_FROM_ORIGIN
            and self._origin_writes.under_way(state.bucket, state.key)
        )

    def _origin(self, bucket: Bucket) -> Origin:
        origin = self._origins.get(bucket.name)
        if origin is None:
            raise _denied()
        return origin


def _is_the_version(source: CopySource, state: ObjectRecord | Tombstone | None) -> bool:
    """Whether the version that is asked for is the one that is held. What was written here is the version `null`."""
    if not isinstance(state, ObjectRecord):
        return False
    told = None if is_ours_alone(state) else state.headers.get("x-amz-version-id")
    return source.version_id == (told or NULL_VERSION)


def _version(source: CopySource) -> str | None:
    """The version as a query spells it: encoded anew, so that nothing else can stand in it."""
    return None if source.version_id is None else quote(source.version_id, safe="~")


def _whole_size(answer: OriginResponse, asked: tuple[int, int]) -> int:
    """The size of the object of which the answer is a range. Raises `OriginUnavailable` where it is not the range asked for."""
    match = _CONTENT_RANGE.fullmatch(answer.header("content-range") or "")
    if match is None or int(match["first"]) != asked[0] or int(match["last"]) > asked[1]:
        raise OriginUnavailable("the origin answered a range without a usable Content-Range")
    return int(match["size"])


async def _refusal(answer: OriginResponse, source: CopySource, *, by_right: bool) -> S3Error:
    """What the caller is told of the origin's refusal. Raises `OriginUnavailable` where trying again can help."""
    code = _CODE.search(await _beginning(answer, ERROR_BODY_BYTES_MAX))
    said = f"{answer.status}{f' {code[1].decode()}' if code is not None else ''}"
    if answer.status >= 500 or answer.status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS):
        raise OriginUnavailable(f"the origin answered {said} to a copy's read")
    if not by_right:
        return _denied()
    if answer.status == HTTPStatus.NOT_FOUND:
        if source.version_id is not None:
            return _no_such_version(source)
        return no_such_key(source.key)
    if answer.status == HTTPStatus.FORBIDDEN:
        return S3Error("AccessDenied", f"The origin does not give the copy source ({said}).")
    if answer.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.METHOD_NOT_ALLOWED):
        # A malformed version id, a delete marker, an object with a key of its owner's.
        return S3Error("InvalidRequest", f"The origin does not give the copy source ({said}).")
    raise OriginUnavailable(f"the origin answered {said} to a copy's read")


async def _beginning(answer: OriginResponse, bytes_max: int) -> bytes:
    body = bytearray()
    async for piece in answer.body:
        body += piece
        if len(body) >= bytes_max:
            break
    return bytes(body[:bytes_max])


def _no_such_version(source: CopySource) -> S3Error:
    return S3Error(
        "NoSuchVersion",
        "The specified version does not exist.",
        details={"Key": source.key, "VersionId": source.version_id or ""},
    )


def _denied() -> S3Error:
    return S3Error("AccessDenied", "Access Denied")
