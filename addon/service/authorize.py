"""Who asks, and what the signature covers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from addon import sigv4
from addon.s3.operations import Operation, Target
from addon.s3.query import with_hoisted_headers
from addon.service.buckets import Addressed, Bucket
from addon.service.request import S3Request, only_value


@dataclass(frozen=True, slots=True)
class Call:
    """A request with its bucket, its target and its caller: `verified` is None for an anonymous one, and nothing else is.

    `headers` are what the operation is to read: a presigned URL carries some of them in its query.
    """

    request: S3Request
    bucket: Bucket
    target: Target
    verified: sigv4.Verified | None
    headers: Sequence[tuple[str, str]]

    def header(self, name: str) -> str | None:
        """The value of header `name` (lower case), or None. Raises InvalidArgument where it stands more than once."""
        return only_value(self.headers, name)


class Authorizer:
    """Verifies signatures against the credentials of the bucket that is addressed; `now` gives the time in UTC."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    def identify(self, request: S3Request, addressed: Addressed) -> Call:
        """The caller. Raises S3Error for every signature that does not verify; an anonymous request has none.

        A preflight has none either: a browser sends it to the URL of the request that will follow, whose signature, where the URL
        is presigned, is for another method. It asks for rules that everybody may know.
        """
        if addressed.target.operation is Operation.CORS_PREFLIGHT:
            return Call(request, addressed.bucket, addressed.target, None, request.headers)
        signed = sigv4.SignedRequest(
            method=request.method,
            raw_path=request.raw_path,
            raw_query=request.raw_query,
            headers=request.headers,
        )
        verified = None
        if sigv4.access_key_id(signed) is not None:
            verified = sigv4.verify(signed, secret_for=addressed.bucket.credentials.get, now=self._now())
        headers = request.headers if verified is None else with_hoisted_headers(request.headers, request.raw_query)
        return Call(request, addressed.bucket, addressed.target, verified, headers)
