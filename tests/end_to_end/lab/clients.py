"""Drivers of real S3 clients, each in the form in which its users run it.

``put`` returns nothing: what was stored is always looked at through a read. A client that cannot do an operation
raises ``NotImplementedError``. Errors of the server become ``Refused``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import boto3
import botocore.exceptions
from botocore.config import Config

from .process import LabError
from .target import Got, Refused, Target, object_headers

PROJECT = Path(__file__).parents[3]
LAB = PROJECT / ".lab"
SCRIPTS = Path(__file__).parents[1] / "clients"
COMMAND_LIMIT_S = 120.0
STATUS_OF_CODE = {
    "NoSuchKey": 404,
    "NotFound": 404,
    "NoSuchBucket": 404,
    "AccessDenied": 403,
    "SignatureDoesNotMatch": 403,
}


class Client(Protocol):
    name: str

    def why_not_here(self) -> str | None: ...
    def put(self, target: Target, key: str, file: Path, content_type: str) -> None: ...
    def get(self, target: Target, key: str, scratch: Path) -> Got: ...
    def head(self, target: Target, key: str) -> dict[str, str]: ...
    def delete(self, target: Target, key: str) -> None: ...


def run(argv: list[str | Path], env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(
        [str(word) for word in argv],
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT_S,
        env={**clean, **(env or {})},
    )


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


class AwsCli:
    name = "aws-cli"
    program = LAB / "aws" / "bin" / "aws"

    def why_not_here(self) -> str | None:
        return None if self.program.exists() else "the AWS CLI is not installed; scripts/setup-lab.sh installs it"

    def put(self, target: Target, key: str, file: Path, content_type: str) -> None:
        self._api(target, "put-object", "--key", key, "--body", file, "--content-type", content_type)

    def get(self, target: Target, key: str, scratch: Path) -> Got:
        out = scratch / "aws-cli.out"
        told = self._api(target, "get-object", "--key", key, out)
        return Got(out.read_bytes(), self._headers(told))

    def head(self, target: Target, key: str) -> dict[str, str]:
        return self._headers(self._api(target, "head-object", "--key", key))

    def delete(self, target: Target, key: str) -> None:
        self._api(target, "delete-object", "--key", key)

    @staticmethod
    def _headers(told: dict[str, Any]) -> dict[str, str]:
        names = {
            "ETag": "etag",
            "ContentType": "content-type",
            "ContentLength": "content-length",
            "CacheControl": "cache-control",
        }
        metadata = {f"x-amz-meta-{name}": value for name, value in told.get("Metadata", {}).items()}
        return {names[name]: str(value) for name, value in told.items() if name in names} | metadata

    def _api(self, target: Target, operation: str, *arguments: str | Path) -> dict[str, Any]:
        trusted = {"AWS_CA_BUNDLE": str(target.authority)} if target.authority else {}
        done = run(
            [
                self.program,
                "--endpoint-url",
                target.endpoint,
                "s3api",
                operation,
                "--bucket",
                target.bucket,
                *arguments,
            ],
            {
                "AWS_ACCESS_KEY_ID": target.access_key_id,
                "AWS_SECRET_ACCESS_KEY": target.secret_access_key,
                "AWS_DEFAULT_REGION": target.region,
                "AWS_MAX_ATTEMPTS": "1",
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                **trusted,
            },
        )
        if done.returncode != 0:
            code = re.search(r"An error occurred \((\w+)\)", done.stderr)
            if code is None:
                raise LabError(f"aws {operation}: status {done.returncode}\n{done.stderr[-3000:]}")
            word = code.group(1)
            raise Refused(int(word) if word.isdigit() else STATUS_OF_CODE.get(word, 0), done.stderr.strip())
        answer: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
        return answer


class AwsSdkJs:
    """@aws-sdk/client-s3 under Node. ``body`` is "buffer", "stream" (of a file) or "upload" (lib-storage)."""

    modules = LAB / "node" / "node_modules"

    def __init__(self, body: str) -> None:
        self.body = body
        self.name = f"aws-sdk-js-{body}"

    def why_not_here(self) -> str | None:
        if shutil.which("node") is None:
            return "node is not installed"
        installed = (self.modules / "@aws-sdk" / "client-s3").exists()
        return None if installed else "@aws-sdk/client-s3 is not installed; scripts/setup-lab.sh installs it"

    def put(self, target: Target, key: str, file: Path, content_type: str) -> None:
        self._run(
            target, {"operation": "put", "key": key, "file": str(file), "contentType": content_type, "body": self.body}
        )

    def get(self, target: Target, key: str, scratch: Path) -> Got:
        out = scratch / "aws-sdk-js.out"
        told = self._run(target, {"operation": "get", "key": key, "file": str(out)})
        return Got(out.read_bytes(), object_headers(told["headers"]))

    def head(self, target: Target, key: str) -> dict[str, str]:
        return object_headers(self._run(target, {"operation": "head", "key": key})["headers"])

    def delete(self, target: Target, key: str) -> None:
        self._run(target, {"operation": "delete", "key": key})

    def _run(self, target: Target, command: dict[str, Any]) -> dict[str, Any]:
        trusted = {"NODE_EXTRA_CA_CERTS": str(target.authority)} if target.authority else {}
        where = {"endpoint": target.endpoint, "bucket": target.bucket, "region": target.region}
        keys = {"AWS_ACCESS_KEY_ID": target.access_key_id, "AWS_SECRET_ACCESS_KEY": target.secret_access_key}
        done = run(
            ["node", SCRIPTS / "aws-sdk.mjs", json.dumps({**where, **command})],
            {**keys, **trusted, "LAB_NODE_MODULES": str(self.modules)},
        )
        if done.returncode != 0:
            raise LabError(f"aws-sdk.mjs {command['operation']}: status {done.returncode}\n{done.stderr[-3000:]}")
        answer: dict[str, Any] = json.loads(done.stdout)
        if "refused" in answer:
            raise Refused(answer["refused"], answer["detail"])
        return answer


class Curl:
    """``curl --aws-sigv4``. It sends no x-amz-content-sha256 by itself; S3 wants one, so its users add the header."""

    name = "curl"

    def __init__(self, *options: str) -> None:
        self.options = options
        self.http_version = ""  # of the last request

    def why_not_here(self) -> str | None:
        if shutil.which("curl") is None:
            return "curl is not installed"
        known = "aws-sigv4" in run(["curl", "--help", "all"]).stdout
        return None if known else "this curl has no --aws-sigv4"

    def put(self, target: Target, key: str, file: Path, content_type: str) -> None:
        self._run(target, key, Path(os.devnull), "-T", str(file), "-H", f"Content-Type: {content_type}")

    def get(self, target: Target, key: str, scratch: Path) -> Got:
        out = scratch / "curl.out"
        headers = self._run(target, key, out)
        return Got(out.read_bytes(), headers)

    def head(self, target: Target, key: str) -> dict[str, str]:
        return self._run(target, key, Path(os.devnull), "--head")

    def delete(self, target: Target, key: str) -> None:
        self._run(target, key, Path(os.devnull), "-X", "DELETE")

    def _run(self, target: Target, key: str, out: Path, *arguments: str) -> dict[str, str]:
        trusted = ["--cacert", str(target.authority)] if target.authority else []
        written = (
            "%{http_code}\n%{http_version}\n%{header_json}" if _curl_writes_json() else "%{http_code}\n%{http_version}"
        )
        done = run(
            ["curl", "--silent", "--show-error", "--aws-sigv4", f"aws:amz:{target.region}:s3", "--user",
             f"{target.access_key_id}:{target.secret_access_key}", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
             "--output", out, "--write-out", written, *trusted, *self.options, *arguments, target.url(key)],
        )  # fmt: skip
        if done.returncode != 0:
            raise LabError(f"curl: status {done.returncode}: {done.stderr.strip()}")
        status, self.http_version, *rest = done.stdout.split("\n", 2)
        if int(status) >= 400:
            raise Refused(int(status), out.read_text(errors="replace")[:500] if out.is_file() else "")
        told = json.loads(rest[0]) if rest else {}
        return object_headers({name: ", ".join(values) for name, values in told.items()})


def _curl_writes_json() -> bool:
    version = re.search(r"curl (\d+)\.(\d+)", run(["curl", "--version"]).stdout)
    return version is not None and (int(version[1]), int(version[2])) >= (7, 83)


class PicGo:
    """PicGo with picgo-plugin-s3, headless. It only uploads, names the object itself, and prints the public URL."""

    name = "picgo"
    folder = LAB / "node"

    def why_not_here(self) -> str | None:
        if shutil.which("node") is None:
            return "node is not installed"
        installed = (self.folder / "node_modules" / "picgo-plugin-s3").exists()
        return None if installed else "PicGo is not installed; scripts/setup-lab.sh installs it"

    def upload(self, target: Target, file: Path, scratch: Path) -> str:
        """Upload a picture as a user drops it, and return the URL that PicGo puts into the clipboard."""
        home = scratch / "picgo"
        home.mkdir(exist_ok=True)
        for name in ("package.json", "node_modules"):
            if not (home / name).exists():
                (home / name).symlink_to(self.folder / name)
        uploader = {
            "accessKeyID": target.access_key_id,
            "secretAccessKey": target.secret_access_key,
            "bucketName": target.bucket,
            "uploadPath": "{year}/{month}/{md5}.{extName}",
            "endpoint": target.endpoint,
            "pathStyleAccess": True,
            # PicGo's settings dialogue fills this in; a settings file must say it.
            "acl": "public-read",
        }
        settings = {
            "picBed": {"uploader": "aws-s3", "current": "aws-s3", "aws-s3": uploader},
            "picgoPlugins": {"picgo-plugin-s3": True},
        }
        (home / "config.json").write_text(json.dumps(settings))
        trusted = {"NODE_EXTRA_CA_CERTS": str(target.authority)} if target.authority else {}
        done = run(
            [self.folder / "node_modules" / ".bin" / "picgo", "-c", home / "config.json", "upload", file],
            {**trusted, "HOME": str(home)},
        )
        urls = re.findall(r"^https?://\S+$", done.stdout, re.MULTILINE)
        if done.returncode != 0 or not urls:
            raise Refused(0, f"picgo: status {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
        return urls[-1]


def signing_clients() -> list[Client]:
    """The clients that do all four operations."""
    return [Boto3(), AwsCli(), AwsSdkJs("buffer"), AwsSdkJs("stream"), AwsSdkJs("upload"), Curl()]
