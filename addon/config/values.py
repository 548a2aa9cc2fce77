"""The kinds of value that settings have: each turns what a file says into what the program uses, or says what was expected.

The texts of the ValueErrors complete "FILE: KEY = VALUE: …", and never hold the value, because it may be a secret.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo

_SECRET_BYTES_MAX = 64 << 10
_BYTE_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
    "TIB": 1 << 40,
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the values of a file may refer to."""

    folder: Path
    environ: Mapping[str, str]


def surroundings(info: ValidationInfo) -> Surroundings:
    if not isinstance(info.context, Surroundings):
        raise TypeError("settings are made by load_config")
    return info.context


def _path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("expected a path")
    return surroundings(info).folder / value


def byte_count(value: object) -> int:
    """A number of bytes, with a unit or without. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(r"([0-9]{1,15}) ?([A-Za-z]*)", value) if isinstance(value, str) else None
    if match is None or match[2].upper() not in _BYTE_UNITS:
        raise ValueError('expected a number of bytes like "256MiB", "2GiB", "20MB" or 20000000')
    return int(match[1]) * _BYTE_UNITS[match[2].upper()]


def _secret(value: object, info: ValidationInfo) -> SecretStr:
    """The secret itself, from where `value` says that it is."""
    if not isinstance(value, str):
        raise ValueError('expected a string, "env:NAME" or "file:PATH"')
    kind, colon, name = value.partition(":")
    if kind == "env" and colon:
        value = surroundings(info).environ.get(name, "").strip()
        if not value:
            raise ValueError(f"expected the environment variable {name} to hold it, but that is not set or empty")
    elif kind == "file" and colon:
        value = _read_secret(surroundings(info).folder / name)
    if not value or not value.isprintable() or not value.isascii() or " " in value:
        raise ValueError("expected printable ASCII characters without spaces, and not nothing")
    return SecretStr(value)


def _read_secret(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_SECRET_BYTES_MAX + 1)
        if len(content) <= _SECRET_BYTES_MAX:
            return content.decode("ascii").strip()
    except OSError as error:
        raise ValueError(f"expected the file {path} to hold it, but it cannot be read: {error.strerror}") from None
    except ValueError:
        pass
    raise ValueError(f"expected the file {path} to hold it and nothing else")


def _bot_token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[1-9][0-9]{0,15}:[A-Za-z0-9_-]{3,}", value.get_secret_value()):
        raise ValueError("expected a bot token as BotFather gives it, like 123456:ABC-DEF")
    return value


def sealing_key(value: SecretStr) -> bytes:
    """The 32 bytes of a key that documents are sealed with. Raises ValueError."""
    text = value.get_secret_value()
    try:
        if len(text) == 64:
            return bytes.fromhex(text)
        standard = text.translate(str.maketrans("-_", "+/")).rstrip("=")
        key = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        if len(key) == 32:
            return key
    except (ValueError, binascii.Error):
        pass
    raise ValueError("expected 32 random bytes as base64 or hex, as `tgstore new-key` makes them")


def _sealing_key(value: SecretStr) -> SecretStr:
    sealing_key(value)
    return value


def _key_id(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{16}", value):
        raise ValueError("expected the id of a key: 16 lower-case hex digits, as `tgstore status` shows them")
    return value


def _chat_id(value: int) -> int:
    if value == 0:
        raise ValueError("expected the number of a chat; a channel's looks like -1001234567890")
    return value


def _url(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and value.isprintable():
            return parts
    except ValueError:
        pass
    raise ValueError("expected a URL like https://host or http://host:port")


def _api_url(value: str) -> str:
    parts = _url(value)
    if parts.query or parts.fragment or "@" in parts.netloc or " " in value:
        raise ValueError("expected a URL like https://api.telegram.org, without query, user or bot token")
    return value.rstrip("/")


def _endpoint(value: str) -> str:
    parts = _url(value)
    if parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc or " " in value:
        raise ValueError("expected a URL like https://s3.example.com, without path, query or user")
    return f"{parts.scheme}://{parts.netloc}"


def host(value: str) -> str:
    """A host as `Host` headers are compared with it: lower case, without a trailing dot; an IPv6 address in brackets."""
    name = value.lower().rstrip(".")
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    if ":" in bare:
        try:
            return f"[{ipaddress.IPv6Address(bare)}]"
        except ValueError:
            raise ValueError("expected a host name without scheme, port and path") from None
    if len(name) > 253 or not all(re.fullmatch(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", label) for label in name.split(".")):
        raise ValueError("expected a host name without scheme, port and path, like images.s3.example.com")
    return name


def _bucket_name(value: str) -> str:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    is_name = re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value) and ".." not in value
    if not is_name or re.fullmatch(r"[0-9]+(\.[0-9]+){3}", value):
        raise ValueError("expected a bucket name: 3 to 63 lower-case letters, digits, dots and hyphens")
    return value


def _origin_bucket_name(value: str) -> str:
    # Older buckets, and other services than AWS, have names that are not allowed any more.
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,255}", value):
        raise ValueError("expected the name of the bucket at the origin")
    return value


def _region(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,63}", value):
        raise ValueError("expected a region like eu-central-1, or auto")
    return value


def _loopback(value: str) -> str:
    if value != "localhost":
        try:
            if not ipaddress.ip_address(value).is_loopback:
                raise ValueError
        except ValueError:
            raise ValueError("expected a loopback address like 127.0.0.1: others must not reach the service") from None
    return value


def _index_url(value: str, info: ValidationInfo) -> str:
    path = value.removeprefix("sqlite:///")
    if path == value or path in {"", ":memory:"} or "?" in value or "\0" in value:
        raise ValueError('expected "sqlite:///path/to/file.db"')
    return f"sqlite:///{surroundings(info).folder / path}"


def _cors_origin(value: str) -> str:
    # What browsers send has no path, so an entry with one could never match.
    is_text = value.isascii() and value.isprintable() and not re.search(r'[ ,"]', value)
    _, _, rest = value.partition("://")
    if not (is_text and value.count("*") <= 1 and ("*" in value or (rest and "/" not in rest)) and value[-1] != "/"):
        raise ValueError(
            'expected an origin like "https://www.example.com", "https://*.example.com" or "*", without a path'
        )
    return value


def _cors_header_pattern(value: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", value) or value.count("*") > 1:
        raise ValueError('expected the name of a header like "Content-Type", with one * at most')
    return value


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[!#$%&'+.^_`|~0-9A-Za-z-]{1,128}", value):
        raise ValueError('expected the name of a header like "ETag", without *')
    return value


def not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Checked here and not by a minimum length: that would also count an entry that is wrong as missing."""
    if not values:
        raise ValueError("expected at least one entry")
    return values


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Entries that say the same once they are in their compared form are a mistake."""
    if len(set(values)) < len(values):
        raise ValueError("expected each of them once")
    return values


FilePath = Annotated[Path, BeforeValidator(_path)]
Bytes = Annotated[int, BeforeValidator(byte_count)]
Secret = Annotated[SecretStr, BeforeValidator(_secret)]
Host = Annotated[str, AfterValidator(host)]
Hosts = Annotated[tuple[Host, ...], Field(strict=False), AfterValidator(distinct)]
PositiveSeconds = Annotated[float, Field(gt=0, le=7 * 86400)]
SecondsOrNever = Annotated[float, Field(ge=0, le=365 * 86400)]
ApiUrl = Annotated[str, AfterValidator(_api_url)]
BotToken = Annotated[Secret, AfterValidator(_bot_token)]
SealingKey = Annotated[Secret, AfterValidator(_sealing_key)]
KeyId = Annotated[str, AfterValidator(_key_id)]
ChatId = Annotated[int, Field(strict=True), AfterValidator(_chat_id)]
IndexUrl = Annotated[str, AfterValidator(_index_url)]
LoopbackHost = Annotated[str, AfterValidator(_loopback)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
BucketName = Annotated[str, AfterValidator(_bucket_name)]
OriginBucketName = Annotated[str, AfterValidator(_origin_bucket_name)]
CorsOrigin = Annotated[str, AfterValidator(_cors_origin)]
CorsHeaderPattern = Annotated[str, AfterValidator(_cors_header_pattern)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
Region = Annotated[str, AfterValidator(_region)]
