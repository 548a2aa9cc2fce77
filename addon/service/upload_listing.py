"""ListMultipartUploads: ours together with those that were begun at the origin."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from addon.s3.errors import S3Error
from addon.s3.multipart_xml import iso_time
from addon.s3.upload_listing import (
    BEFORE_ALL_IDS,
    OriginPage,
    Place,
    UploadEntry,
    UploadsAsked,
    UploadsPage,
    first_behind,
    merged,
    origin_query,
    parse_origin_page,
    uploads_list,
)
from addon.service.authorize import Call
from addon.service.multipart import access_denied, storage_class
from addon.service.request import Answer
from addon.store.multipart import MultipartUpload
from addon.store.ports import Index, Origin, OriginRequest, OriginResponse, OriginUnavailable

# A page of 1000 uploads whose keys have 1024 bytes, each escaped, and ids to match.
ORIGIN_ANSWER_BYTES_MAX = 8 << 20
# Pages of the origin that hold nothing new are passed over this many times.
ORIGIN_PAGES_MAX = 5


class UploadListing:
    """ListMultipartUploads. Where there is an origin and it does not tell, there is no list: half of one would be a lie."""

    def __init__(self, index: Index, origins: Mapping[str, Origin | None]) -> None:
        self._index, self._origins = index, origins

    async def list_uploads(self, call: Call) -> Answer:
        """ListMultipartUploads."""
        if call.verified is None:
            raise access_denied()
        asked = UploadsAsked.of(call.request.raw_query)
        page = await self._page(call.bucket.name, asked) if asked.uploads_max else UploadsPage([], truncated=False)
        body = uploads_list(asked, page, bucket=call.bucket.name)
        return Answer(200, [("content-type", "application/xml"), ("content-length", str(len(body)))], body)

    async def _page(self, bucket: str, asked: UploadsAsked) -> UploadsPage:
        our_place, origin_place = asked.places
        ours = await self._ours(bucket, asked, our_place)
        origin = self._origins.get(bucket)
        if origin is None:
            return merged(asked, ours, [], origin_ends_at=None)
        for _ in range(ORIGIN_PAGES_MAX):
            found = await _origin_page(origin, asked, origin_place)
            ends_at = found.next_place.key if found.next_place is not None else None
            page = merged(asked, ours, found.entries, origin_ends_at=ends_at)
            if page.entries or found.next_place is None:
                return page
            origin_place = found.next_place
        raise OriginUnavailable("the origin's list of uploads does not go on")

    async def _ours(self, bucket: str, asked: UploadsAsked, place: Place) -> list[UploadEntry]:
        """Our entries behind `place`: as many as a page takes, and one more."""
        wanted = asked.uploads_max + 1
        entries: list[UploadEntry] = []
        if asked.common_prefix(place.key) == place.key and place.key.startswith(asked.prefix):
            # The last page ended with this common prefix.
            place = Place(first_behind(place.key) or place.key, BEFORE_ALL_IDS)
        while len(entries) < wanted:
            limit = wanted - len(entries)
            found = await self._index.uploads(
                bucket, prefix=asked.prefix, after_key=place.key, after_upload_id=place.upload_id, limit=limit
            )
            behind: str | None = None
            for upload in found:
                common = asked.common_prefix(upload.key)
                if common is None:
                    entries.append(_entry(upload))
                    place = Place(upload.key, upload.upload_id)
                    continue
                if common.encode() > asked.key_marker.encode():
                    entries.append(UploadEntry(common, ours=True))
                behind = first_behind(common)
                if behind is None:
                    return entries
                place = Place(behind, BEFORE_ALL_IDS)
                break
            if behind is None and len(found) < limit:
                return entries
        return entries


async def _origin_page(origin: Origin, asked: UploadsAsked, place: Place) -> OriginPage:
    request = OriginRequest("GET", "", origin_query(asked, place), [("accept-encoding", "identity")])
    async with origin.send(request) as answer:
        if answer.status != HTTPStatus.OK:
            raise OriginUnavailable(f"the origin answered {answer.status} to the question for its uploads")
        body = await _whole(answer)
    try:
        return parse_origin_page(body)
    except S3Error:
        raise OriginUnavailable("the origin's list of uploads cannot be understood") from None


async def _whole(answer: OriginResponse) -> bytes:
    body = bytearray()
    async for piece in answer.body:
        body += piece
        if len(body) > ORIGIN_ANSWER_BYTES_MAX:
            raise OriginUnavailable("the origin's list of uploads is too long")
    return bytes(body)


def _entry(upload: MultipartUpload) -> UploadEntry:
    return UploadEntry(
        key=upload.key,
        upload_id=upload.upload_id,
        initiated=iso_time(upload.initiated_at_s),
        storage_class=storage_class(upload),
        checksum_algorithm=upload.checksum_algorithm.upper(),
        checksum_type=upload.checksum_type,
        ours=True,
    )
