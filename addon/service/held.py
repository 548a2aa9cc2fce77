"""What is held of a key that a verified caller asks about, for operations on properties of objects (tags, access control lists)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from addon.s3.errors import S3Error
from addon.s3.keys import encode_key
from addon.service.authorize import Call
from addon.service.missing import MissingAnswers
from addon.service.origin_writes import OriginWrites
from addon.service.reads import is_the_version, no_such_version
from addon.store.object_store import ObjectStore
from addon.store.ports import Origin, OriginRequest, OriginUnavailable, SourceChanged
from addon.store.records import ObjectRecord, Provenance, Tombstone

# How often a change is tried anew because the object was written meanwhile.
ATTEMPTS_MAX = 4


class HeldObjects:
    """Finds the object of a call, and describes it anew."""

    def __init__(
        self,
        store: ObjectStore,
        origins: Mapping[str, Origin | None],
        origin_writes: OriginWrites,
        missing: MissingAnswers,
    ) -> None:
        self._store, self._origins, self._origin_writes, self._missing = store, origins, origin_writes, missing

    async def of(self, call: Call) -> ObjectRecord | None:
        """The object that the call is about, None where only the origin can answer: it has not moved, it is being written there,
        or another version than ours was asked for.

        Raises AccessDenied for a caller who is not verified, and what the origin would say of a key that is not there.
        """
        if call.verified is None:
            raise S3Error("AccessDenied", "Access Denied")
        bucket, key = call.bucket.name, call.target.key
        state = await self._store.state(bucket, key)
        if call.target.version_id is not None and not is_the_version(call, state):
            if call.bucket.origin is None:
                raise no_such_version(call)
            return None
        if isinstance(state, Tombstone) or (state is None and call.bucket.origin is None):
            raise await self._missing.refusal(call)
        if state is None or (
            state.provenance is Provenance.COPIED_FROM_ORIGIN and self._origin_writes.under_way(bucket, key)
        ):
            return None
        return state

    async def change(
        self, call: Call, *, tags: Mapping[str, str] | None = None, anonymous_read: bool | None = None
    ) -> None:
        """Describe the call's object anew: from then on it counts as written here. Raises `SourceChanged` where others were
        faster each time, and what `of` raises."""
        for _ in range(ATTEMPTS_MAX):
            record = await self.of(call)
            if record is None:
                break
            readable = anonymous_read if anonymous_read is not None else await self._anonymous_read(record)
            try:
                await self._store.commits.change_object(record, tags=tags, anonymous_read=readable)
            except SourceChanged:
                continue
            return
        raise SourceChanged("the object was written by others meanwhile")

    async def _anonymous_read(self, record: ObjectRecord) -> bool:
        """Whether anyone may read it. Of a copy that nobody read anonymously yet only the origin knows, and it will not be asked
        any more once the object is ours. Raises `OriginUnavailable`."""
        origin = self._origins.get(record.bucket)
        if record.anonymous_read or record.provenance is not Provenance.COPIED_FROM_ORIGIN or origin is None:
            return record.anonymous_read
        request = OriginRequest("HEAD", encode_key(record.key), "", [("accept-encoding", "identity")], anonymous=True)
        async with origin.send(request) as answer:
            if answer.status == HTTPStatus.OK:
                return answer.header("etag") == f'"{record.etag}"'
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
                raise OriginUnavailable(f"the origin answered {answer.status} to the question who may read an object")
            return False
