"""Questions about buckets, which clients ask before they work, and the list of a caller's buckets."""

from __future__ import annotations

from addon.s3.bucket_answers import buckets_xml, location_xml, parse_buckets_query, plain_bucket_answer
from addon.s3.errors import S3Error
from addon.service.authorize import Call
from addon.service.buckets import Directory
from addon.service.cors import Cors
from addon.service.forward import Forwarder
from addon.service.request import Answer


class BucketQuestions:
    """Answers from the settings, the origin's answers, and those of a plain bucket where there is no origin."""

    def __init__(self, directory: Directory, forwarder: Forwarder) -> None:
        self._directory, self._forwarder = directory, forwarder

    async def head(self, call: Call) -> Answer:
        """HeadBucket: it is there, because it is configured."""
        _check_verified(call)
        return Answer(200, [("x-amz-bucket-region", call.bucket.region), ("content-type", "application/xml")])

    async def location(self, call: Call) -> Answer:
        """GetBucketLocation."""
        _check_verified(call)
        return _xml(location_xml(call.bucket.region))

    async def buckets(self, call: Call) -> Answer:
        """ListBuckets: those that the caller's key is good for."""
        access_key_id = _check_verified(call)
        regions = {
            bucket.name: bucket.region
            for bucket in self._directory.buckets.values()
            if access_key_id in bucket.credentials
        }
        return _xml(buckets_xml(regions, parse_buckets_query(call.request.raw_query)))

    async def cors(self, call: Call) -> Answer:
        """GetBucketCors: our settings come first, because they are what preflights are answered from."""
        _check_verified(call)
        body = Cors.configuration_xml(call.bucket)
        return await self.setting(call) if body is None else _xml(body)

    async def setting(self, call: Call) -> Answer:
        """A read of one of the bucket's settings."""
        _check_verified(call)
        if call.bucket.origin is not None:
            return await self._forwarder.forward(call)
        return _xml(plain_bucket_answer(call.target.operation, call.bucket.name))


def _check_verified(call: Call) -> str:
    """The caller's access key id. Raises AccessDenied for an anonymous one."""
    if call.verified is None:
        raise S3Error("AccessDenied", "Access Denied")
    return call.verified.access_key_id


def _xml(body: bytes) -> Answer:
    return Answer(200, [("content-type", "application/xml"), ("content-length", str(len(body)))], body)
