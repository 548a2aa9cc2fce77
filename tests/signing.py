"""Requests signed by botocore, as this program receives them, and what the verifier says of them."""

from __future__ import annotations

import hashlib
import hmac
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from unittest import mock
from urllib.parse import urlsplit

import botocore.awsrequest
import botocore.session
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.crt.auth import CrtS3SigV4Auth

from addon.s3.errors import S3Error
from addon.sigv4 import SignedRequest, Verified, verify

ACCESS_KEY_ID = "AKIDTGSTORETESTS"
SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SECRETS = {ACCESS_KEY_ID: SECRET_ACCESS_KEY}
SIGNERS = {"botocore": S3SigV4Auth, "awscrt": CrtS3SigV4Auth}


@contextmanager
def clock(time: datetime) -> Iterator[None]:
    """Lets botocore sign at `time`."""

    def current(remove_tzinfo: bool = True) -> datetime:
        return time.replace(tzinfo=None) if remove_tzinfo else time

    with (
        mock.patch("botocore.auth.get_current_datetime", current),
        mock.patch("botocore.crt.auth.get_current_datetime", current),
    ):
        yield


def received(method: str, url: str, headers: Iterable[tuple[str, str]]) -> SignedRequest:
    """The request as it arrives: bytes of UTF-8, read as Latin-1."""
    parts = urlsplit(url)
    pairs = [(name, value.encode("utf-8").decode("latin-1")) for name, value in headers]
    if not any(name.lower() == "host" for name, _ in pairs):
        pairs.insert(0, ("Host", parts.netloc))
    return SignedRequest(method, parts.path.encode().decode("latin-1"), parts.query.encode().decode("latin-1"), pairs)


def _text(value: object) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def header_signed(
    method: str,
    url: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    at: datetime = NOW,
    region: str = "us-east-1",
    signer: str = "botocore",
    access_key_id: str = ACCESS_KEY_ID,
    secret: str = SECRET_ACCESS_KEY,
    service: str = "s3",
) -> SignedRequest:
    """Signed in the Authorization header."""
    request = AWSRequest(method=method, url=url, data=body)
    for name, value in headers:
        request.headers.add_header(name, value)
    request.context["client_config"] = None
    request.context["payload_signing_enabled"] = True
    with clock(at):
        SIGNERS[signer](Credentials(access_key_id, secret), service, region).add_auth(request)
    return received(method, request.url, [(name, _text(value)) for name, value in request.headers.items()])


def presigned(
    method: str,
    url: str,
    headers: Iterable[tuple[str, str]] = (),
    *,
    at: datetime = NOW,
    expires_s: int = 3600,
    region: str = "us-east-1",
) -> SignedRequest:
    """Signed in the query."""
    request = AWSRequest(method=method, url=url)
    for name, value in headers:
        request.headers.add_header(name, value)
    with clock(at):
        credentials = Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
        S3SigV4QueryAuth(credentials, "s3", region, expires=expires_s).add_auth(request)
    return received(method, request.url, [(name, _text(value)) for name, value in request.headers.items()])


class Recorder:
    """A botocore client that sends nothing: `send` gives the request, and the body, that would have gone out."""

    def __init__(self, endpoint_url: str, region: str = "us-east-1") -> None:
        session = botocore.session.Session()
        self._client = session.create_client(
            "s3",
            region_name=region,
            endpoint_url=endpoint_url,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
        )
        self._sent: list[botocore.awsrequest.AWSPreparedRequest] = []
        self._client.meta.events.register("before-send.s3", self._keep)

    def _keep(self, request: botocore.awsrequest.AWSPreparedRequest, **_: object) -> object:
        self._sent.append(request)
        return botocore.awsrequest.AWSResponse(request.url, 200, {}, _Raw())

    def send(self, operation: str, **parameters: object) -> tuple[SignedRequest, bytes]:
        self._sent.clear()
        with clock(NOW):
            getattr(self._client, operation)(**parameters)
        (sent,) = self._sent
        body = sent.body.read() if hasattr(sent.body, "read") else sent.body or b""
        headers = [(name, _text(value)) for name, value in sent.headers.items()]
        return received(sent.method, sent.url, headers), body if isinstance(body, bytes) else body.encode()


class _Raw(io.BytesIO):
    def stream(self) -> Iterator[bytes]:
        yield b""


def changed(
    request: SignedRequest,
    *,
    method: str | None = None,
    raw_path: str | None = None,
    raw_query: str | None = None,
    headers: Mapping[str, str | None] | None = None,
    extra: Iterable[tuple[str, str]] = (),
) -> SignedRequest:
    """The same request with something else in it; a header set to None is taken away, `extra` ones are added at the end."""
    replaced = {name.lower(): value for name, value in (headers or {}).items()}
    kept = [(name, value) for name, value in request.headers if name.lower() not in replaced]
    kept += [(name, value) for name, value in replaced.items() if value is not None]
    return SignedRequest(
        request.method if method is None else method,
        request.raw_path if raw_path is None else raw_path,
        request.raw_query if raw_query is None else raw_query,
        [*kept, *extra],
    )


def header_of(request: SignedRequest, name: str) -> str:
    """The one value of a header."""
    (value,) = [value for header, value in request.headers if header.lower() == name]
    return value


# ---- Asking the verifier


def check(request: SignedRequest, *, now: datetime = NOW) -> Verified:
    return verify(request, secret_for=SECRETS.get, now=now)


def refusal(
    request: SignedRequest, *, now: datetime = NOW, secret_for: Callable[[str], str | None] = SECRETS.get
) -> S3Error:
    with pytest.raises(S3Error) as caught:
        verify(request, secret_for=secret_for, now=now)
    return caught.value


def code(request: SignedRequest, *, now: datetime = NOW) -> str:
    return refusal(request, now=now).code


def with_authorization(request: SignedRequest, change: Callable[[str], str]) -> SignedRequest:
    return changed(request, headers={"authorization": change(header_of(request, "authorization"))})


def resigned(
    request: SignedRequest, signed_headers: list[str], payload: str, *, raw_path: str | None = None
) -> SignedRequest:
    """Signed here, in the few lines of AWS's description, for requests that botocore would not make."""
    names = sorted(signed_headers)
    values = {name.lower(): value for name, value in request.headers}
    timestamp = values["x-amz-date"]
    scope = f"{timestamp[:8]}/us-east-1/s3/aws4_request"
    lines = "".join(f"{name}:{values.get(name, '100-continue' if name == 'expect' else '')}\n" for name in names)
    path = request.raw_path if raw_path is None else raw_path
    canonical = f"{request.method}\n{path}\n{request.raw_query}\n{lines}\n{';'.join(names)}\n{payload}"
    key = ("AWS4" + SECRET_ACCESS_KEY).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    to_sign = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{hashlib.sha256(canonical.encode('latin-1')).hexdigest()}"
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return changed(request, headers={"authorization": authorization})


def plain(method: str = "GET", raw_path: str = "/a/key.png", **headers: str) -> SignedRequest:
    pairs = [("host", "images.s3.example.com"), ("x-amz-date", NOW.strftime("%Y%m%dT%H%M%SZ"))]
    return SignedRequest(
        method, raw_path, "", [*pairs, *((name.replace("_", "-"), value) for name, value in headers.items())]
    )
