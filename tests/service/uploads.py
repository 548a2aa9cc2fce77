"""Multipart uploads by hand: requests as they are on the wire, and boto3 against the product."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config as BotoConfig

from addon.s3.checksums import BodyDigests
from addon.service.multipart import MultipartHandlers
from tests.service.product import HOST, IMAGES, USER, Answer, Product, running_product
from tests.service.signing import Headers


@contextlib.contextmanager
def boto(product: Product) -> Iterator[Any]:
    """A boto3 client of the product as it is."""
    s3 = boto3.client(
        "s3",
        endpoint_url="http://{}:{}".format(*product.address),
        region_name="us-east-1",
        aws_access_key_id=USER.access_key_id,
        aws_secret_access_key=USER.secret,
        config=BotoConfig(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
    )
    s3.meta.events.register("before-sign.s3", lambda request, **_: request.headers.add_header("Host", HOST))
    try:
        yield s3
    finally:
        s3.close()


async def by_boto(product: Product, do: Callable[[Any], Any]) -> Any:
    """`do(s3)` in a thread."""

    def run() -> Any:
        with boto(product) as s3:
            return do(s3)

    return await asyncio.to_thread(run)


@contextlib.asynccontextmanager
async def product_with_small_parts(
    folder: Path, origin_port: int, monkeypatch: pytest.MonkeyPatch, **settings: str
) -> AsyncIterator[Product]:
    """The product, where every part may be as small as one likes."""
    monkeypatch.setitem(MultipartHandlers.__init__.__kwdefaults__, "part_bytes_min", 0)
    async with running_product(folder, origin_port, **settings) as product:
        yield product


@dataclass
class Uploading:
    """An upload that was begun; `etags` are those of the parts that were acknowledged last, without quotes."""

    product: Product
    key: str
    bucket: str
    upload_id: str
    etags: dict[int, str] = field(default_factory=dict)

    async def put(self, number: int, body: bytes, headers: Headers = (), **more: Any) -> Answer:
        answer = await self.product.send(
            "PUT",
            self.key,
            bucket=self.bucket,
            query=f"partNumber={number}&uploadId={self.upload_id}",
            headers=headers,
            body=body,
            **more,
        )
        if answer.status_code == 200:
            self.etags[number] = answer.headers["etag"].strip('"')
        return answer

    async def complete(
        self, listed: bytes | None = None, headers: Headers = (), *, product: Product | None = None
    ) -> Answer:
        """With the list of all parts that were acknowledged, or another."""
        return await (product or self.product).send(
            "POST",
            self.key,
            bucket=self.bucket,
            query=f"uploadId={self.upload_id}",
            headers=headers,
            body=part_list_xml(sorted(self.etags.items())) if listed is None else listed,
        )

    async def abort(self) -> Answer:
        return await self.product.send("DELETE", self.key, bucket=self.bucket, query=f"uploadId={self.upload_id}")

    async def listed(self, query: str = "") -> Answer:
        query = f"uploadId={self.upload_id}" + (f"&{query}" if query else "")
        return await self.product.send("GET", self.key, bucket=self.bucket, query=query)


async def begin(product: Product, key: str, *, bucket: str = IMAGES, headers: Headers = ()) -> Uploading:
    begun = await product.send("POST", key, bucket=bucket, query="uploads", headers=headers)
    assert begun.status_code == 200, begun.text
    upload_id = re.search("<UploadId>(.+)</UploadId>", begun.text)
    assert upload_id is not None
    return Uploading(product, key, bucket, upload_id[1])


def part_list_xml(parts: Sequence[tuple[int, str]], more: str = "") -> bytes:
    inner = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{more}</Part>" for number, etag in parts
    )
    return f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()


def checksum(algorithm: str, body: bytes) -> str:
    digests = BodyDigests(want={algorithm})
    digests.update(body)
    return digests.checksum(algorithm)


def composite(algorithm: str, bodies: Sequence[bytes]) -> str:
    """What S3 documents: the checksum of the parts' checksums, and how many there are."""
    together = b"".join(base64.b64decode(checksum(algorithm, body)) for body in bodies)
    return f"{checksum(algorithm, together)}-{len(bodies)}"


def etag_of(bodies: Sequence[bytes]) -> str:
    """The MD5 of the parts' MD5s, and how many there are."""
    together = b"".join(hashlib.md5(body).digest() for body in bodies)
    return f"{hashlib.md5(together).hexdigest()}-{len(bodies)}"


def begun_at_origin(product: Product, origin_server: Any, key: str, body: bytes) -> Uploading:
    """An upload that was begun at the origin and has one part there: completing it is a write that goes past us."""
    where = {"Bucket": "images-there", "Key": key}
    upload = Uploading(product, key, IMAGES, origin_server.s3.create_multipart_upload(**where)["UploadId"])
    part = origin_server.s3.upload_part(**where, UploadId=upload.upload_id, PartNumber=1, Body=body)
    upload.etags[1] = part["ETag"].strip('"')
    return upload
