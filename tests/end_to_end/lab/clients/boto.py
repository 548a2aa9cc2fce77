"""boto3, with plain calls and with its transfer manager."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from tests.end_to_end.lab.clients.protocols import PART_BYTES, files_under
from tests.end_to_end.lab.process import LabError
from tests.end_to_end.lab.target import Got, Refused, Target, object_headers


def s3_client(target: Target, *, addressing: str = "path", proxy: str | None = None, **config: Any) -> Any:
    """A boto3 client as its documentation says to make one; nothing about checksums or payloads is switched off."""
    return boto3.client(
        "s3",
        endpoint_url=target.endpoint,
        aws_access_key_id=target.access_key_id,
        aws_secret_access_key=target.secret_access_key,
        region_name=target.region,
        verify=str(target.authority) if target.authority else None,
        config=Config(
            s3={"addressing_style": addressing},
            retries={"total_max_attempts": 1},
            proxies={"http": proxy, "https": proxy} if proxy else {},
            **config,
        ),
    )


class Boto3:
    name = "boto3"

    def why_not_here(self) -> str | None:
        return None

    def put(self, target: Target, key: str, file: Path, content_type: str) -> None:
        with file.open("rb") as body:
            self._call(target, "put_object", Key=key, Body=body, ContentType=content_type)

    def get(self, target: Target, key: str, scratch: Path) -> Got:
        answer = self._call(target, "get_object", Key=key)
        return Got(answer["Body"].read(), object_headers(answer["ResponseMetadata"]["HTTPHeaders"]))

    def head(self, target: Target, key: str) -> dict[str, str]:
        return object_headers(self._call(target, "head_object", Key=key)["ResponseMetadata"]["HTTPHeaders"])

    def delete(self, target: Target, key: str) -> None:
        self._call(target, "delete_object", Key=key)

    @staticmethod
    def _call(target: Target, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(s3_client(target), operation)(Bucket=target.bucket, **arguments)
        except botocore.exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            raise Refused(status, str(error)) from None


PARTS = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)
LISTED_AT_ONCE = 4


class Boto3Transfer:
    """boto3's transfer manager, with parts up, down and copied; lists in pages of a few keys."""

    name = "boto3-transfer"
    multiparts = True
    moves = False
    copies_odd_names = True

    def why_not_here(self) -> str | None:
        return None

    def version(self) -> str:
        return str(boto3.__version__)

    def listed(self, target: Target, prefix: str) -> list[tuple[str, int]]:
        pages = s3_client(target).get_paginator("list_objects_v2")
        pages = pages.paginate(Bucket=target.bucket, Prefix=prefix, PaginationConfig={"PageSize": LISTED_AT_ONCE})
        return [(entry["Key"], entry["Size"]) for page in pages for entry in page.get("Contents", [])]

    def download(self, target: Target, prefix: str, folder: Path) -> None:
        s3 = s3_client(target)
        for key, _ in self.listed(target, prefix):
            file = folder / key.removeprefix(prefix)
            file.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(target.bucket, key, str(file), Config=PARTS)

    def upload(self, target: Target, folder: Path, prefix: str) -> None:
        s3 = s3_client(target)
        for name, file in files_under(folder).items():
            s3.upload_file(str(file), target.bucket, prefix + name, Config=PARTS)

    def copy(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        s3 = s3_client(target)
        for name in names:
            s3.copy({"Bucket": target.bucket, "Key": prefix + name}, target.bucket, to + name, Config=PARTS)

    def move(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        raise NotImplementedError

    def delete(self, target: Target, prefix: str, names: Sequence[str]) -> None:
        keys = [prefix + name for name in names]
        told = s3_client(target).delete_objects(
            Bucket=target.bucket, Delete={"Objects": [{"Key": key} for key in keys]}
        )
        if told.get("Errors") or sorted(entry["Key"] for entry in told["Deleted"]) != sorted(keys):
            raise LabError(f"delete_objects: {told}")

    def delete_all(self, target: Target, prefix: str) -> None:
        bucket = boto3.resource(
            "s3",
            endpoint_url=target.endpoint,
            aws_access_key_id=target.access_key_id,
            aws_secret_access_key=target.secret_access_key,
            region_name=target.region,
            verify=str(target.authority) if target.authority else None,
        ).Bucket(target.bucket)
        bucket.objects.filter(Prefix=prefix).delete()
