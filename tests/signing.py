"""Requests signed by botocore, as this program receives them: the independent side of the signature tests."""

from __future__ import annotations

import datetime as datetime_module
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from unittest import mock
from urllib.parse import urlsplit

import botocore.awsrequest
import botocore.session
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.crt.auth import CrtS3SigV4Auth

from addon.sigv4 import SignedRequest

ACCESS_KEY_ID = "AKIDTGSTORETESTS"
SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
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


MINUTE = datetime_module.timedelta(minutes=1)
SECOND = datetime_module.timedelta(seconds=1)
