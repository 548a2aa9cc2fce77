"""Where a bucket's origin is, and how a key is addressed there: pure, so that whoever forwards and whoever signs agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class OriginAddress:
    """Connect to `host`:`port` by `scheme` ("http" or "https"); say `host_header` there; `path_prefix` stands before each raw key.

    `path_prefix` starts with a slash and ends without one (empty in virtual-host style).
    """

    scheme: str
    host: str
    port: int
    host_header: str
    path_prefix: str

    def raw_path(self, raw_key: str) -> str:
        """The path of a key, spelt as given; of the bucket itself where `raw_key` is empty."""
        return f"{self.path_prefix}/{raw_key}" if raw_key or not self.path_prefix else self.path_prefix


def origin_address(endpoint: str, bucket: str, addressing: Literal["virtual", "path"]) -> OriginAddress:
    """The address of `bucket` at `endpoint` (`https://host[:port][/prefix]`).

    Raises ValueError where endpoint or bucket cannot be meant.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("the endpoint must be a URL like https://s3.example.com, without query or user")
    if not bucket or not bucket.isascii() or not bucket.isprintable() or any(char in bucket for char in "/?#%@ "):
        raise ValueError(f"not a bucket name: {bucket!r}")
    default_port = _DEFAULT_PORTS[parts.scheme]
    port = parts.port or default_port
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if addressing == "virtual" and ":" not in parts.hostname:
        host = f"{bucket}.{host}"
    elif addressing == "virtual":
        raise ValueError("an endpoint that is an IPv6 address needs path addressing")
    prefix = parts.path.rstrip("/") + (f"/{bucket}" if addressing == "path" else "")
    return OriginAddress(
        scheme=parts.scheme,
        host=host.strip("[]"),
        port=port,
        host_header=host if port == default_port else f"{host}:{port}",
        path_prefix=prefix,
    )
