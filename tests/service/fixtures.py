"""Fixtures that the tests of service/ and of store/ share."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config as BotoConfig
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from addon.store.send_ledger import Rate
from addon.telegram.documents import TelegramDocuments
from tests.service.product import ORIGIN_KEY, Product, running_product

ORIGIN_BUCKETS = ("images-there", "other-there", "open-there")


class OriginServer:
    """moto's S3 server, and a client that goes to it directly."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.s3: Any = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id=ORIGIN_KEY.access_key_id,
            aws_secret_access_key=ORIGIN_KEY.secret,
            config=BotoConfig(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
        )

    def begin(self) -> None:
        """Empty buckets."""
        for bucket in ORIGIN_BUCKETS:
            self.s3.create_bucket(Bucket=bucket)

    def end(self) -> None:
        """Empty again. Which buckets need it is seen in moto itself, in this process: requests cost more than most tests."""
        account = s3_backends[DEFAULT_ACCOUNT_ID]
        held = {name: found for backend in account.values() for name, found in backend.buckets.items()}
        for bucket in ORIGIN_BUCKETS:
            if held[bucket].keys:
                for listed in self.s3.list_objects_v2(Bucket=bucket).get("Contents", []):
                    self.s3.delete_object(Bucket=bucket, Key=listed["Key"])
            if held[bucket].multiparts:
                for begun in self.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
                    self.s3.abort_multipart_upload(Bucket=bucket, Key=begun["Key"], UploadId=begun["UploadId"])

    def put(self, key: str, body: bytes, bucket: str = "images-there", **more: Any) -> str:
        """Returns the ETag without quotes."""
        return str(self.s3.put_object(Bucket=bucket, Key=key, Body=body, **more)["ETag"]).strip('"')

    def get(self, key: str, bucket: str = "images-there") -> bytes:
        with self.s3.get_object(Bucket=bucket, Key=key)["Body"] as body:
            return bytes(body.read())

    def keys(self, bucket: str = "images-there") -> set[str]:
        return {listed["Key"] for listed in self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])}


@pytest.fixture(scope="session")
def moto() -> Iterator[OriginServer]:
    """One S3 server for all tests. It verifies no signature, so nothing here relies on its doing so."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    origin = OriginServer(server.get_host_and_port()[1])
    origin.begin()
    yield origin
    origin.s3.close()
    server.stop()


@pytest.fixture
def origin_server(moto: OriginServer) -> Iterator[OriginServer]:
    """The same with empty buckets."""
    yield moto
    moto.end()


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts five hundred times as short, and as many messages as one likes; all else stays as it is."""
    monkeypatch.setattr("addon.telegram.retries.PAUSE_S_FIRST", 0.001)
    monkeypatch.setattr("addon.telegram.retries.PAUSE_S_MAX", 0.02)
    monkeypatch.setattr("addon.store.copier.POLL_S", 0.02)
    monkeypatch.setattr("addon.storage.group_rate", lambda _: Rate(10_000, 1.0, 10_000))
    for name in ("private_rate", "bot_rate"):
        monkeypatch.setitem(TelegramDocuments.__init__.__kwdefaults__, name, Rate(10_000, 1.0, 10_000))


@pytest.fixture
async def product(tmp_path: Path, origin_server: OriginServer, quick_retries: None) -> AsyncIterator[Product]:
    """The whole product with the stand-in and an empty origin."""
    async with running_product(tmp_path, origin_server.port) as running:
        yield running


def unique(name: str) -> str:
    """A key that no other test uses."""
    return f"{name}-{uuid.uuid4().hex[:8]}"
