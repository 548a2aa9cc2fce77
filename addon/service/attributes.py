"""GetObjectAttributes: from what is held here where that knows it, else from the origin."""

from __future__ import annotations

from addon.s3.errors import S3Error
from addon.s3.http_dates import format_http_date
from addon.s3.object_attributes import CHECKSUM, OBJECT_PARTS, AskedAttributes, attributes
from addon.service.authorize import Call
from addon.service.forward import Forwarder
from addon.service.held import HeldObjects
from addon.service.reads import READS_MAX, checksums_of_part
from addon.service.request import Answer
from addon.store.ports import Index, SourceChanged
from addon.store.records import ObjectRecord, is_ours_alone


class AttributeHandlers:
    """GetObjectAttributes."""

    def __init__(self, held: HeldObjects, index: Index, forwarder: Forwarder) -> None:
        self._held, self._index, self._forwarder = held, index, forwarder

    async def get(self, call: Call) -> Answer:
        """GetObjectAttributes of the current object, or of a version of it."""
        if call.verified is None:
            raise S3Error("AccessDenied", "Access Denied")
        asked = AskedAttributes.from_headers(call.headers)
        for _ in range(READS_MAX - 1):
            try:
                return await self._get(call, asked)
            except SourceChanged:
                continue
        return await self._get(call, asked)

    async def _get(self, call: Call, asked: AskedAttributes) -> Answer:
        """Raises `SourceChanged` where the object was replaced before its parts were looked up."""
        record = await self._held.of(call)
        if record is None or _is_the_origins_to_say(call, asked, record):
            return await self._forwarder.forward(call)
        parts = await self._index.object_parts(record) if record.parts_count else []
        body = attributes(asked, record, [(part, checksums_of_part(record, part)) for part in parts])
        return Answer(
            200,
            [
                ("last-modified", format_http_date(record.last_modified_s)),
                ("content-type", "application/xml"),
                ("content-length", str(len(body))),
            ],
            body,
        )


def _is_the_origins_to_say(call: Call, asked: AskedAttributes, record: ObjectRecord) -> bool:
    """Of a copy: of which parts it was made, and a checksum that was not told with it."""
    if is_ours_alone(record) or call.bucket.origin is None:
        return False
    return OBJECT_PARTS in asked.names or (CHECKSUM in asked.names and not record.checksums)
