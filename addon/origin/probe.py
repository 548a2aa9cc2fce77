"""What `tgstore check` tries at the origin: can it be listed, and can its objects be read, with the keys that are configured."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from http import HTTPStatus

from defusedxml import ElementTree as SafeElementTree  # type: ignore[import-untyped]  # defusedxml ships no types
from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]  # the same

from addon.origin.client import S3Origin, failure
from addon.s3.query import decode_component
from addon.store.ports import OriginChanged, OriginRefused, OriginRequest, OriginResponse, OriginUnavailable, StoreError
from addon.store.probe import ProbeResult

LISTING_BYTES_MAX = 64 * 1024
LISTING_QUERY = "list-type=2&max-keys=1&encoding-type=url"

_ADVICE = {
    301: "set origin.region and origin.endpoint to the bucket's own region",
    307: "set origin.region and origin.endpoint to the bucket's own region",
    400: "look whether origin.endpoint, origin.region and origin.addressing belong together",
    403: "give the origin's key the rights s3:ListBucket on the bucket and s3:GetObject on its objects",
    404: "look whether origin.bucket is the bucket's name, and origin.addressing how this server is addressed",
}
_ADVICE_OTHERWISE = "look whether origin.endpoint is an S3 server and can be reached from this machine"


async def probe(origin: S3Origin, *, subject: str) -> Sequence[ProbeResult]:
    """Try to list the bucket, and to read the first key found. Raises nothing of what it finds."""
    try:
        key = await _first_key(origin)
    except StoreError as problem:
        return [_failed(f"{subject}: list", problem)]
    listed = ProbeResult(f"{subject}: list", ok=True, detail="can be listed")
    if key is None:
        return [listed, ProbeResult(f"{subject}: read", ok=True, detail="the bucket is empty, nothing to read")]
    try:
        async with origin.get_object(key) as answer:
            detail = f"an object of {answer.header('content-length') or 'unknown'} bytes can be read"
    except StoreError as problem:
        return [listed, _failed(f"{subject}: read", problem)]
    return [listed, ProbeResult(f"{subject}: read", ok=True, detail=detail)]


async def _first_key(origin: S3Origin) -> str | None:
    async with origin.send(OriginRequest("GET", "", LISTING_QUERY, [("accept-encoding", "identity")])) as answer:
        if answer.status != HTTPStatus.OK:
            raise await failure(answer)
        return _key_in_listing(await _bounded_body(answer), answer.status)


async def _bounded_body(answer: OriginResponse) -> bytes:
    body = bytearray()
    async for piece in answer.body:
        body += piece
        if len(body) > LISTING_BYTES_MAX:
            raise OriginRefused("the listing of one key is longer than any listing of S3", status=answer.status)
    return bytes(body)


def _key_in_listing(xml: bytes, status: int) -> str | None:
    """The first key of a ListObjectsV2 answer; servers differ in whether they use the XML namespace."""
    try:
        root: ElementTree.Element = SafeElementTree.fromstring(xml)
    except (ElementTree.ParseError, DefusedXmlException, ValueError):
        raise OriginRefused("the answer to a listing is no XML", status=status) from None
    if root.tag.rpartition("}")[2] != "ListBucketResult":
        raise OriginRefused("the answer to a listing is no listing", status=status)
    texts = {element.tag.rpartition("}")[2]: element.text or "" for element in root.iter()}
    key = texts.get("Key")
    if key is None:
        return None
    return decode_component(key) if texts.get("EncodingType") == "url" else key


def _failed(subject: str, problem: StoreError) -> ProbeResult:
    advice = _ADVICE_OTHERWISE
    if isinstance(problem, OriginRefused):
        advice = _ADVICE.get(problem.status, _ADVICE_OTHERWISE)
    elif isinstance(problem, OriginChanged | OriginUnavailable) and "keys" in str(problem):
        advice = "set origin.access_key_id and origin.secret_access_key to a valid pair, and this machine's clock right"
    return ProbeResult(subject, ok=False, detail=str(problem), advice=advice)
