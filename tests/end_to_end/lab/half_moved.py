"""A bucket in the middle of its move: half of the keys under each prefix are in Telegram, the others in the origin only."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .clients.protocols import PART_BYTES
from .process import LabError
from .target import Target, request
from .tgstore import Tgstore

THREADS = 4
TWO_PARTS_BYTES = PART_BYTES + 70_001

# Names in pairs, one of each state; the odd ones stay in the origin. They alternate in a listing, so that a page of it is
# merged key by key. "06" was uploaded in two parts, so its ETag is not the MD5 of its bytes.
OLD = {
    "01.bin": 3_001,
    "02.bin": 3_002,
    "03 a+b & ü=(1).bin": 1_003,
    "04 a+b & ü=(1).bin": 1_004,
    "05/deep/er.bin": 70_005,
    "06/deep/er.bin": TWO_PARTS_BYTES,
    "07.bin": 2_007,
    "08.bin": 2_008,
    "09.bin": 1,
    "10.bin": 10,
}
MOVED = frozenset(name for name in OLD if int(name[:2]) % 2 == 0)
assert len(MOVED) * 2 == len(OLD)


# What a page of http://localhost, on any port, may do with the bucket.
PAGES_OF_LOCALHOST = {
    "allowed_origins": ["http://localhost:*"],
    "allowed_methods": ["GET", "HEAD", "PUT", "POST"],
    "allowed_headers": ["content-type", "x-amz-meta-*"],
    "expose_headers": ["ETag", "x-amz-meta-from"],
    "max_age_s": 600,
}


def content(name: str, size: int) -> bytes:
    """Bytes that no other name has."""
    return random.Random(f"{name} {size}").randbytes(size)


@dataclass(frozen=True)
class HalfMoved:
    """The bucket, behind one mitmdump that speaks HTTP and HTTPS on the same port."""

    tgstore: Tgstore

    def target(self, scheme: str) -> Target:
        secure = self.tgstore.target()
        if scheme == "https":
            return secure
        return dataclasses.replace(secure, endpoint=secure.endpoint.replace("https:", "http:"), authority=None)

    def fill(self, prefix: str) -> dict[str, bytes]:
        """Make the keys of ``OLD`` under ``prefix``, move half of them, and return what is under each key."""
        bucket = self.tgstore.buckets[0]
        s3 = bucket.origin.s3()
        bodies = {prefix + name: content(prefix + name, size) for name, size in OLD.items()}

        def put(key: str) -> None:
            if len(bodies[key]) > PART_BYTES:
                self._put_in_parts(key, bodies[key])
            else:
                s3.put_object(Bucket=bucket.name, Key=key, Body=bodies[key])

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(put, bodies))
        self.move([prefix + name for name in OLD if name in MOVED])
        return bodies

    def move(self, keys: Sequence[str]) -> None:
        """Read these keys of the origin through the product, and wait until they are in Telegram."""
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._read, keys))
        for key in keys:
            self.tgstore.wait_until_copied(key)

    def _read(self, key: str) -> None:
        answer = request(self.target("http"), "GET", key)
        if answer.status_code != 200:
            raise LabError(f"reading {key!r}: {answer.status_code} {answer.text[:500]}")

    def _put_in_parts(self, key: str, body: bytes) -> None:
        bucket = self.tgstore.buckets[0]
        s3 = bucket.origin.s3()
        address = {"Bucket": bucket.name, "Key": key}
        upload = s3.create_multipart_upload(**address)["UploadId"]
        pieces = [body[:PART_BYTES], body[PART_BYTES:]]
        parts = [
            {
                "PartNumber": number,
                "ETag": s3.upload_part(**address, UploadId=upload, PartNumber=number, Body=piece)["ETag"],
            }
            for number, piece in enumerate(pieces, start=1)
        ]
        s3.complete_multipart_upload(**address, UploadId=upload, MultipartUpload={"Parts": parts})

    def in_origin(self, prefix: str) -> dict[str, tuple[int, str]]:
        """Size and ETag of each key that the origin itself lists."""
        bucket = self.tgstore.buckets[0]
        pages = bucket.origin.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket.name, Prefix=prefix)
        return {entry["Key"]: (entry["Size"], entry["ETag"]) for page in pages for entry in page.get("Contents", [])}


def sizes(bodies: Mapping[str, bytes]) -> list[tuple[str, int]]:
    """A listing of these keys, in the order in which S3 lists."""
    return [(key, len(bodies[key])) for key in sorted(bodies, key=str.encode)]


def write_files(folder: Path, bodies: Mapping[str, bytes]) -> None:
    for name, body in bodies.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)


def read_files(folder: Path) -> dict[str, bytes]:
    return dict(_files(folder))


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()
