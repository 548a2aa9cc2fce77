"""Browser uploads: POST of a form whose policy is signed.

Nothing of the file is kept before the form's signature, its policy and every field are verified; and what can be judged only at
the end (size, digests) is judged before the object is committed. Headers of the request say nothing about the object: only the
form's fields stand under the policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from addon import sigv4
from addon.s3.checksums import BodyDigests
from addon.s3.errors import S3Error
from addon.s3.post_fields import PostUpload, expanded, post_response_xml, read_post_fields, redirect_location
from addon.s3.post_form import BYTES_AFTER_FILE_MAX, BYTES_BEFORE_FILE_MAX, PostFormReader, boundary_of
from addon.s3.post_policy import parse_post_policy
from addon.service.authorize import Call
from addon.service.body import content_length
from addon.service.forward import SpooledBody
from addon.service.origin_only import OriginOnly
from addon.service.request import Answer
from addon.service.upload_slots import UploadSlots
from addon.store.object_store import Description, ObjectStore

# Until its fields are there nobody knows who sends a form; so long it may take.
FIELDS_WAIT_S_MAX = 60.0

_CONDITIONS = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"})


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A form that was verified; the file's size in bytes must be within these two."""

    upload: PostUpload
    bytes_min: int
    bytes_max: int


class BrowserUploads:
    """PostObject. `now` gives the time in UTC; files above `object_bytes_max` bytes are refused."""

    def __init__(
        self,
        store: ObjectStore,
        slots: UploadSlots,
        origin_only: OriginOnly,
        now: Callable[[], datetime],
        *,
        object_bytes_max: int,
    ) -> None:
        self._store, self._slots, self._origin_only, self._now = store, slots, origin_only, now
        self._object_bytes_max = object_bytes_max

    async def post(self, call: Call) -> Answer:
        """PostObject: the form verified, its file stored in Telegram and in the index; then acknowledged."""
        form = PostFormReader(self.check_headers(call))
        async with contextlib.aclosing(call.request.body()) as body:
            begun = await _read_fields(form, body)
            accepted = self._accept(call, form)
            with self._slots.one():
                file = _file(form, begun, body)
                if self._origin_only.takes(call):
                    etag = await self._forward_file(call, accepted, file, form)
                else:
                    etag = await self._store_file(call, accepted, file, form)
        return _answer(call, accepted.upload, etag)

    def check_headers(self, call: Call) -> bytes:
        """Everything that can be judged before the body; returns the form's boundary. Raises S3Error."""
        if call.verified is not None:
            raise S3Error(
                "InvalidArgument",
                "Only one auth mechanism allowed: the signature of a POST stands in its form.",
                details={"ArgumentName": "Authorization"},
            )
        for name, _ in call.headers:
            if name in _CONDITIONS:
                raise S3Error(
                    "NotImplemented",
                    "A header you provided implies functionality that is not implemented",
                    details={"Header": name},
                )
        length = content_length(call.request)
        if length is not None:
            _check_at_most(self._object_bytes_max, length - BYTES_BEFORE_FILE_MAX - BYTES_AFTER_FILE_MAX)
        return boundary_of(call.header("content-type") or "")

    def _accept(self, call: Call, form: PostFormReader) -> _Accepted:
        """Verify who signed and what they allowed. Raises S3Error."""
        sigv4.verify_post_policy(form.fields, secret_for=call.bucket.credentials.get)
        policy = parse_post_policy(form.fields["policy"])
        fields = expanded(form.fields, form.file_name or "")
        policy.check(fields, bucket=call.bucket.name, now=self._now())
        allowed = policy.bytes_max
        return _Accepted(
            read_post_fields(fields),
            policy.bytes_min,
            self._object_bytes_max if allowed is None else min(allowed, self._object_bytes_max),
        )

    async def _store_file(
        self, call: Call, accepted: _Accepted, file: AsyncGenerator[bytes, None], form: PostFormReader
    ) -> str:
        bucket, wished = call.bucket.name, accepted.upload
        digests = BodyDigests(want=wished.expected.algorithms)
        async with self._store.upload(bucket, wished.key, digests.update) as upload:
            async with contextlib.aclosing(file):
                async for piece in file:
                    _check_at_most(accepted.bytes_max, upload.size + len(piece))
                    await upload.write(piece)
            form.finish()
            if upload.size < accepted.bytes_min:
                raise _too_small(upload.size, accepted.bytes_min)
            await upload.seal()
            checksums = wished.expected.verify(digests, {})
            record = await self._store.commit(
                upload,
                bucket,
                wished.key,
                Description(
                    etag=digests.md5_hex(),
                    last_modified_s=int(self._store.now_s()),
                    anonymous_read=wished.headers.anonymous_read,
                    headers=wished.headers.stored,
                    checksums=checksums,
                    tags=wished.headers.tags,
                ),
            )
            return record.etag

    async def _forward_file(
        self, call: Call, accepted: _Accepted, file: AsyncGenerator[bytes, None], form: PostFormReader
    ) -> str:
        """The file to the origin alone, after all of it is here and verified."""
        wished, size = accepted.upload, 0
        digests = BodyDigests(want=wished.expected.algorithms | {"sha256"})
        with tempfile.TemporaryFile(dir=self._store.spool_dir) as spooled:
            async with contextlib.aclosing(file):
                async for piece in file:
                    size += len(piece)
                    _check_at_most(accepted.bytes_max, size)
                    digests.update(piece)
                    await asyncio.to_thread(spooled.write, piece)
            form.finish()
            if size < accepted.bytes_min:
                raise _too_small(size, accepted.bytes_min)
            checksums = wished.expected.verify(digests, {})
            body = SpooledBody(spooled, size, digests.sha256_hex(), checksums)
            return await self._origin_only.put_file(call, wished.key, wished.headers, body)


async def _read_fields(form: PostFormReader, body: AsyncGenerator[bytes, None]) -> Sequence[bytes]:
    """Read as far as the beginning of the file; returns what of it has come already."""
    try:
        async with asyncio.timeout(FIELDS_WAIT_S_MAX):
            async for received in body:
                begun = form.feed(received)
                if form.file_name is not None:
                    return begun
    except TimeoutError:
        raise S3Error("RequestTimeout", "The fields of the form did not arrive within the timeout period.") from None
    form.finish()
    return ()


async def _file(
    form: PostFormReader, begun: Sequence[bytes], body: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """The file's bytes; what follows the file is read and dropped."""
    for piece in begun:
        yield piece
    async for received in body:
        for piece in form.feed(received):
            yield piece


def _answer(call: Call, wished: PostUpload, etag: str) -> Answer:
    bucket, key = call.bucket.name, wished.key
    location = _location(call, key)
    headers = [("etag", f'"{etag}"'), ("location", location), ("content-length", "0")]
    if wished.redirect is not None:
        headers[1] = (
            "location",
            redirect_location(wished.redirect, bucket=bucket, key=key, etag=etag),
        )
        return Answer(303, headers)
    if wished.status != 201:
        return Answer(wished.status, headers if wished.status == 200 else headers[:2])
    body = post_response_xml(location=location, bucket=bucket, key=key, etag=etag)
    return Answer(201, [*headers[:2], ("content-type", "application/xml"), ("content-length", str(len(body)))], body)


def _location(call: Call, key: str) -> str:
    """The object's URL as S3 writes it, with slashes escaped. Whoever ends TLS before us says so in X-Forwarded-Proto; it means
    no more than this text."""
    scheme = "https" if ("x-forwarded-proto", "https") in call.request.headers else "http"
    return f"{scheme}://{call.request.host}{call.request.raw_path.rstrip('/')}/{quote(key, safe='~')}"


def _check_at_most(bytes_max: int, size: int) -> None:
    if size > bytes_max:
        raise S3Error(
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size",
            details={"ProposedSize": str(size), "MaxSizeAllowed": str(bytes_max)},
        )


def _too_small(size: int, bytes_min: int) -> S3Error:
    return S3Error(
        "EntityTooSmall",
        "Your proposed upload is smaller than the minimum allowed size",
        details={"ProposedSize": str(size), "MinSizeAllowed": str(bytes_min)},
    )
