"""ListObjects (V1) and ListObjectsV2, merged from the index and the origin.

Whom we know is shown what our own credentials see. An anonymous caller is shown what the origin shows anybody, with what was
written and deleted here merged into it; where the origin refuses, that is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from addon.s3.errors import S3Error
from addon.s3.listing_answer import fields_of, owner_of, render_listing
from addon.s3.listing_request import ListingRequest, parse_listing_request
from addon.s3.operations import Operation
from addon.s3.origin_listing import Entry, OriginPage, OriginQuery
from addon.service.authorize import Call
from addon.service.request import Answer
from addon.store.listed import ListedObject
from addon.store.merged_listing import Asked, FetchPage, MergedEntry, MergedPage, merged_page
from addon.store.object_store import ObjectStore
from addon.store.origin_pages import origin_page
from addon.store.ports import Origin, OriginRefused, OriginUnavailable

# What else a client may ask of a listing, for the origin to answer.
PASSED_ON = frozenset({"x-amz-expected-bucket-owner", "x-amz-optional-object-attributes", "x-amz-request-payer"})

# Refusals that are about our credentials or clock, and nothing that the caller could be told.
_ABOUT_US = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "RequestTimeTooSkewed", "SignatureDoesNotMatch"}
)


class Listings:
    """The handlers."""

    def __init__(self, store: ObjectStore, origins: Mapping[str, Origin | None]) -> None:
        self._store, self._origins = store, origins

    async def list_objects(self, call: Call) -> Answer:
        """Both versions. A listing that is not complete is not given out: raises `OriginUnavailable` instead."""
        request = parse_listing_request(call.request.raw_query, v2=call.target.operation is Operation.LIST_OBJECTS_V2)
        bucket = call.bucket.name
        origin = self._origins.get(bucket)
        if origin is None and call.verified is None:
            raise S3Error("AccessDenied", "Access Denied")
        fetch = _fetch_from(origin, call) if origin is not None else None
        page = await self._page(bucket, request, fetch, anonymous=call.verified is None)
        owner = owner_of(bucket) if request.owners else ""
        entries = [_shown(entry, owner) for entry in page.entries]
        body = render_listing(request, bucket, entries, page.following)
        headers = [("content-type", "application/xml"), ("content-length", str(len(body)))]
        return Answer(HTTPStatus.OK, headers, body)

    async def _page(
        self, bucket: str, request: ListingRequest, fetch: FetchPage | None, *, anonymous: bool
    ) -> MergedPage:
        if not request.max_keys:
            if fetch is not None and anonymous:
                await fetch(OriginQuery(request.prefix, request.delimiter, "", 1))
            return MergedPage([], None)
        asked = Asked(bucket, request.prefix, request.delimiter, request.place, request.max_keys, owners=request.owners)
        return await merged_page(self._store.index, fetch, asked)


def _shown(entry: MergedEntry, owner: str) -> Entry:
    name, about = entry
    if not isinstance(about, ListedObject):
        return name, about
    return name, fields_of(
        size=about.size,
        etag=about.etag,
        last_modified_s=about.last_modified_s,
        storage_class=about.storage_class,
        checksum_algorithm=about.checksum_algorithm,
        checksum_type=about.checksum_type,
        owner=owner,
    )


def _fetch_from(origin: Origin, call: Call) -> FetchPage:
    anonymous = call.verified is None
    passed_on = [(name, value) for name, value in call.headers if name in PASSED_ON]

    async def fetch(query: OriginQuery) -> OriginPage:
        try:
            return await origin_page(origin, query, headers=passed_on, anonymous=anonymous)
        except OriginRefused as refused:
            raise _refusal(refused, anonymous=anonymous) from None

    return fetch


def _refusal(refused: OriginRefused, *, anonymous: bool) -> S3Error | OriginUnavailable:
    """What the origin's refusal means for the caller."""
    if refused.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) and (
        anonymous or refused.code not in _ABOUT_US
    ):
        return S3Error("AccessDenied", "Access Denied")
    if refused.status == HTTPStatus.NOT_FOUND:
        return S3Error("NoSuchBucket", "The specified bucket does not exist")
    if refused.code in ("InvalidArgument", "KeyTooLongError"):
        return S3Error(refused.code, "The origin does not take an argument of this listing.")
    return OriginUnavailable(str(refused))
