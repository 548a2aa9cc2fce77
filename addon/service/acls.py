"""GetObjectAcl and PutObjectAcl, as far as a list says whether anyone may read the object."""

from __future__ import annotations

from addon.s3.acl import (
    ACL_BYTES_MAX,
    CANNED,
    GRANTS_PREFIX,
    acl_xml,
    anonymous_read_from_headers,
    anonymous_read_from_xml,
)
from addon.s3.errors import S3Error
from addon.service.authorize import Call
from addon.service.body import whole_body
from addon.service.forward import Forwarder
from addon.service.held import HeldObjects
from addon.service.request import Answer
from addon.store.records import Provenance


class AclHandlers:
    """The list of an object written here is the record's; of a copy the origin knows more than "anyone may read it"."""

    def __init__(self, held: HeldObjects, forwarder: Forwarder) -> None:
        self._held, self._forwarder = held, forwarder

    async def get(self, call: Call) -> Answer:
        """GetObjectAcl."""
        record = await self._held.of(call)
        if record is None or (record.provenance is Provenance.COPIED_FROM_ORIGIN and call.bucket.origin is not None):
            return await self._forwarder.forward(call)
        body = acl_xml(anonymous_read=record.anonymous_read)
        return Answer(200, [("content-type", "application/xml"), ("content-length", str(len(body)))], body)

    async def put(self, call: Call) -> Answer:
        """PutObjectAcl. The object becomes ours, so that nobody is shown what is private from now on by asking the origin."""
        if await self._held.of(call) is None:
            return await self._forwarder.forward(call)
        await self._held.change(call, anonymous_read=await _wanted(call))
        return Answer(200, [("content-length", "0")])


async def _wanted(call: Call) -> bool:
    """Whether anyone may read from now on: in a header or in the body, but not in both (API_PutObjectAcl)."""
    names = {name for name, _ in call.headers if name == CANNED or name.startswith(GRANTS_PREFIX)}
    by_header = anonymous_read_from_headers({name: call.header(name) or "" for name in names})
    body = await whole_body(call, bytes_max=ACL_BYTES_MAX)
    if by_header is not None:
        if body:
            raise S3Error("UnexpectedContent", "This request does not support content")
        return by_header
    if not body:
        raise S3Error("MissingSecurityHeader", "Your request was missing a required header")
    return anonymous_read_from_xml(body)
