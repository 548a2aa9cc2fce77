"""GetObjectTagging, PutObjectTagging, DeleteObjectTagging."""

from __future__ import annotations

from addon.s3.tags import TAGGING_BYTES_MAX, tagging_xml, tags_from_xml
from addon.service.authorize import Call
from addon.service.body import whole_body
from addon.service.forward import Forwarder
from addon.service.held import HeldObjects
from addon.service.request import Answer


class TagHandlers:
    """Tags of objects that are held here are the record's; of all others the origin's."""

    def __init__(self, held: HeldObjects, forwarder: Forwarder) -> None:
        self._held, self._forwarder = held, forwarder

    async def get(self, call: Call) -> Answer:
        """GetObjectTagging."""
        record = await self._held.of(call)
        if record is None:
            return await self._forwarder.forward(call)
        body = tagging_xml(record.tags)
        return Answer(200, [("content-type", "application/xml"), ("content-length", str(len(body)))], body)

    async def put(self, call: Call) -> Answer:
        """PutObjectTagging: replaces all tags."""
        if await self._held.of(call) is None:
            return await self._forwarder.forward(call)
        tags = tags_from_xml(await whole_body(call, bytes_max=TAGGING_BYTES_MAX))
        await self._held.change(call, tags=tags)
        return Answer(200, [("content-length", "0")])

    async def delete(self, call: Call) -> Answer:
        """DeleteObjectTagging."""
        if await self._held.of(call) is None:
            return await self._forwarder.forward(call)
        await self._held.change(call, tags={})
        return Answer(204)
