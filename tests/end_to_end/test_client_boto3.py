"""What boto3's transfer manager and its callers do beyond whole prefixes (those are in test_client_matrix.py)."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import botocore.exceptions
import pytest

from tests.end_to_end.lab.clients.boto import PARTS, s3_client
from tests.end_to_end.lab.half_moved import HalfMoved, content, sizes
from tests.end_to_end.lab.target import Target

pytestmark = pytest.mark.end_to_end

LARGE_BYTES = 12_000_001


class Pipe(io.RawIOBase):
    """Bytes that can be read once, from the front, and of which nobody can ask the length."""

    def __init__(self, body: bytes) -> None:
        self.rest = io.BytesIO(body)

    def read(self, size: int = -1) -> bytes:
        return self.rest.read(size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


@pytest.fixture(params=["http", "https"])
def target(request: pytest.FixtureRequest, half_moved: HalfMoved) -> Target:
    return half_moved.target(request.param)


def prefix_of(name: str, target: Target) -> str:
    return f"boto3-{name}-{target.endpoint.split(':')[0]}/"


def test_stream_of_unknown_length_goes_up_in_parts_and_comes_back_in_ranges(target: Target) -> None:
    s3, key, body = s3_client(target), prefix_of("stream", target) + "key", content("stream", LARGE_BYTES)
    s3.upload_fileobj(Pipe(body), target.bucket, key, Config=PARTS, ExtraArgs={"Metadata": {"from": "a pipe"}})
    told = s3.head_object(Bucket=target.bucket, Key=key, ChecksumMode="ENABLED")
    assert told["ETag"].endswith('-3"')
    assert told["Metadata"] == {"from": "a pipe"}
    assert told["ChecksumCRC32"].endswith("-3")
    back = io.BytesIO()
    s3.download_fileobj(target.bucket, key, back, Config=PARTS)
    assert back.getvalue() == body
    second = s3.get_object(Bucket=target.bucket, Key=key, PartNumber=2)
    assert second["PartsCount"] == 3
    assert second["Body"].read() == body[PARTS.multipart_chunksize : 2 * PARTS.multipart_chunksize]


def test_listings_page_by_page_and_with_folders(target: Target, half_moved: HalfMoved) -> None:
    s3, prefix = s3_client(target), prefix_of("list", target)
    expected = half_moved.fill(prefix)
    s3.put_object(Bucket=target.bucket, Key=prefix + "05/new.bin", Body=b"new")
    s3.delete_object(Bucket=target.bucket, Key=prefix + "09.bin")
    s3.delete_object(Bucket=target.bucket, Key=prefix + "10.bin")
    expected[prefix + "05/new.bin"] = b"new"
    del expected[prefix + "09.bin"], expected[prefix + "10.bin"]
    for operation in ("list_objects", "list_objects_v2"):
        for page_keys in (1, 3, 1000):
            assert [(e["Key"], e["Size"]) for e in entries(s3, target, operation, prefix, page_keys)] == sizes(expected)
        told = getattr(s3, operation)(Bucket=target.bucket, Prefix=prefix, Delimiter="/")
        assert [entry["Prefix"] for entry in told["CommonPrefixes"]] == [prefix + "05/", prefix + "06/"]
        keys = [key for key in expected if "/" not in key.removeprefix(prefix)]
        assert [entry["Key"] for entry in told["Contents"]] == sorted(keys, key=str.encode)
    etags = {entry["Key"]: entry["ETag"] for entry in entries(s3, target, "list_objects_v2", prefix, 1000)}
    for key in (prefix + "01.bin", prefix + "02.bin", prefix + "05/new.bin"):
        assert etags[key] == f'"{hashlib.md5(expected[key]).hexdigest()}"'
        assert s3.head_object(Bucket=target.bucket, Key=key)["ETag"] == etags[key]


def entries(s3: Any, target: Target, operation: str, prefix: str, page_keys: int) -> list[dict[str, Any]]:
    pages = s3.get_paginator(operation).paginate(
        Bucket=target.bucket, Prefix=prefix, PaginationConfig={"PageSize": page_keys}
    )
    return [entry for page in pages for entry in page.get("Contents", [])]


def test_upload_in_parts_by_hand_is_listed_aborted_and_completed(target: Target) -> None:
    s3, key = s3_client(target), prefix_of("parts", target) + "key"
    address = {"Bucket": target.bucket, "Key": key}
    given_up = s3.create_multipart_upload(**address)["UploadId"]
    upload = s3.create_multipart_upload(**address, ContentType="video/x-parts")["UploadId"]
    bodies = {number: content(f"part {number}", 5 << 20) for number in (1, 2)}
    etags = {
        number: s3.upload_part(**address, UploadId=upload, PartNumber=number, Body=bodies[number])["ETag"]
        for number in (2, 1)
    }
    under_way = s3.list_multipart_uploads(Bucket=target.bucket, Prefix=key)["Uploads"]
    assert {entry["UploadId"] for entry in under_way} == {given_up, upload}
    listed = s3.list_parts(**address, UploadId=upload)["Parts"]
    assert [(part["PartNumber"], part["ETag"], part["Size"]) for part in listed] == [
        (number, etags[number], 5 << 20) for number in (1, 2)
    ]
    s3.abort_multipart_upload(**address, UploadId=given_up)
    parts = [{"PartNumber": number, "ETag": etags[number]} for number in (1, 2)]
    s3.complete_multipart_upload(**address, UploadId=upload, MultipartUpload={"Parts": parts})
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=target.bucket, Prefix=key)
    got = s3.get_object(**address)
    assert got["Body"].read() == bodies[1] + bodies[2]
    assert got["ContentType"] == "video/x-parts"


def test_conditional_writes(target: Target, half_moved: HalfMoved) -> None:
    s3, prefix = s3_client(target), prefix_of("conditions", target)
    old = half_moved.fill(prefix)
    for name in ("01.bin", "02.bin"):
        address = {"Bucket": target.bucket, "Key": prefix + name}
        with pytest.raises(botocore.exceptions.ClientError, match="PreconditionFailed"):
            s3.put_object(**address, Body=b"mine", IfNoneMatch="*")
        with pytest.raises(botocore.exceptions.ClientError, match="PreconditionFailed"):
            s3.put_object(**address, Body=b"mine", IfMatch='"0123"')
        assert s3.get_object(**address)["Body"].read() == old[prefix + name]
        s3.put_object(**address, Body=b"mine", IfMatch=s3.head_object(**address)["ETag"])
        assert s3.get_object(**address)["Body"].read() == b"mine"
    s3.put_object(Bucket=target.bucket, Key=prefix + "new.bin", Body=b"new", IfNoneMatch="*")
