"""Proof and way back against a server that verifies signatures: what moved is found equal, and what was written through tgstore, or
everything, is the same at a bucket afterwards."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from tests.commands.program import Done, tgstore
from tests.end_to_end.lab.clients.boto import s3_client
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.tgstore import Bucket, Tgstore

pytestmark = pytest.mark.end_to_end

MIB = 1 << 20
HEADERS: dict[str, Any] = {
    "ContentType": "image/png",
    "CacheControl": "max-age=60",
    "ContentDisposition": 'inline; filename="a b.png"',
    "ContentEncoding": "gzip",
    "ContentLanguage": "de",
    "Metadata": {"colour": "blue"},
}


def run(*arguments: str, cwd: Path) -> Done:
    return asyncio.run(tgstore(*arguments, "--json", cwd=cwd))


def what_is_there(s3: Any, bucket: str) -> dict[str, tuple[Any, ...]]:
    """All of a bucket: bytes, ETag, headers and tags by key."""
    found = {}
    for listed in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        key = listed["Key"]
        got = s3.get_object(Bucket=bucket, Key=key)
        headers = {name: got.get(name) for name in HEADERS}
        tags = {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]}
        found[key] = (got["Body"].read(), got["ETag"], headers, tags)
    return found


def test_everything_can_be_proved_and_brought_back(
    launch: Callable[..., Any], standin: Standin, rgw: Origin, new_bucket: Callable[[Origin], str]
) -> None:
    name, empty, there = new_bucket(rgw), new_bucket(rgw), rgw.s3()
    product: Tgstore = launch(Tgstore, standin, [Bucket(name, rgw)])
    here = s3_client(product.target())
    big = random.Random(8).randbytes(12 * MIB)
    (product.folder / "big").write_bytes(big)
    in_parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)

    there.put_object(Bucket=name, Key="old/a ü+%", Body=b"old", Tagging="a=1", **HEADERS)
    there.upload_file(str(product.folder / "big"), name, "old/big", Config=in_parts)
    for key in ("old/a ü+%", "old/big"):
        here.get_object(Bucket=name, Key=key)["Body"].read()
        product.wait_until_copied(key)
    verified = run("verify", name, "--deep", cwd=product.folder)
    assert (verified.status, verified.summary["equal"]) == (0, 2), verified.out
    extra = {"ACL": "public-read", "StorageClass": "STANDARD_IA", "ServerSideEncryption": "AES256"}
    here.put_object(Bucket=name, Key="new/a ü+%", Body=b"new", Tagging="b=%C3%BC", **HEADERS, **extra)
    here.put_object(Bucket=name, Key="new/empty/", Body=b"")
    here.upload_file(str(product.folder / "big"), name, "new/big", Config=in_parts)
    exported = run("export", name, cwd=product.folder)
    assert (exported.status, exported.summary["written"], exported.err) == (0, 3, ""), exported.out + exported.err
    everything = what_is_there(there, name)
    assert everything == what_is_there(here, name)
    assert everything["new/big"][:2] == (big, here.head_object(Bucket=name, Key="new/big")["ETag"])
    grants = there.get_object_acl(Bucket=name, Key="new/a ü+%")["Grants"]
    assert any(grant["Grantee"].get("URI", "").endswith("AllUsers") for grant in grants)
    again = run("export", name, cwd=product.folder)
    assert (again.status, again.summary["already_there"], again.summary["written"]) == (0, 3, 0), again.out

    elsewhere = product.config.read_text().replace(f'"{name}"\nregion', f'"{empty}"\nregion')
    (product.folder / "elsewhere.toml").write_text(elsewhere)
    filled = run("export", name, "--all", "--config", "elsewhere.toml", cwd=product.folder)
    assert (filled.status, filled.summary["written"]) == (0, 5), filled.out
    assert what_is_there(there, empty) == everything
