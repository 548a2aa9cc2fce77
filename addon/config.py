"""Settings: a TOML file and the environment → validated, frozen values.

    load_config(find_config_path(option, os.environ, Path.cwd()), os.environ)

`config.example.toml` explains every key; a test holds it to the models below. Relative paths start at the folder of the settings file.
A secret may be written `env:NAME` or `file:PATH`. What is wrong is reported all at once, with file, key, value and what was
expected; a secret's value is never shown.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import ErrorDetails

CONFIG_NAME = "config.toml"
CONFIG_VARIABLE = "TGSTORE_CONFIG"
BOT_TOKENS_VARIABLE = "TGSTORE_TELEGRAM_BOT_TOKENS"

_CONFIG_BYTES_MAX = 1 << 20
_SECRET_BYTES_MAX = 64 << 10
_VALUE_SHOWN_CHARS_MAX = 100
_SECRET_KEYS = frozenset({"bot_tokens", "credentials", "access_key_id", "secret_access_key"})
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
class Problem:
    """One thing that is wrong. `value` is as it may be shown, empty where there is none to show."""

    file: str
    key: str
    value: str
    expected: str

    def __str__(self) -> str:
        value = f" = {self.value}" if self.value else ""
        return f"{self.file}: {self.key}{value}: {self.expected}" if self.key else f"{self.file}: {self.expected}"


class ConfigError(Exception):
    """The settings cannot be used; the text has a line for each of `problems`."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What the values of a file may refer to."""

    folder: Path
    environ: Mapping[str, str]


def _surroundings(info: ValidationInfo) -> _Surroundings:
    if not isinstance(info.context, _Surroundings):
        raise TypeError("settings are made by load_config")
    return info.context


def _path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected a path")
    return _surroundings(info).folder / value


def _bytes(value: object) -> int:
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
        value = _surroundings(info).environ.get(name, "").strip()
        if not value:
            raise ValueError(f"expected the environment variable {name} to hold it, but that is not set or empty")
    elif kind == "file" and colon:
        value = _read_secret(_surroundings(info).folder / name)
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


def _host(value: str) -> str:
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
    return f"sqlite:///{_surroundings(info).folder / path}"


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("expected each of them once")
    return values


FilePath = Annotated[Path, BeforeValidator(_path)]
Bytes = Annotated[int, BeforeValidator(_bytes)]
Secret = Annotated[SecretStr, BeforeValidator(_secret)]
Host = Annotated[str, AfterValidator(_host)]
Hosts = Annotated[tuple[Host, ...], Field(strict=False), AfterValidator(_distinct)]
PositiveSeconds = Annotated[float, Field(gt=0, le=7 * 86400)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, hide_input_in_errors=True, allow_inf_nan=False
    )


class Telegram(_Section):
    """The bots and chats that keep the documents. `send_wait_s_max`: how long one send may wait for Telegram's limits, in seconds."""

    api_url: Annotated[str, AfterValidator(_api_url)] = "https://api.telegram.org"
    bot_tokens: Annotated[tuple[Annotated[Secret, AfterValidator(_bot_token)], ...], Field(strict=False, min_length=1)]
    chat_ids: Annotated[
        tuple[Annotated[int, Field(strict=True), AfterValidator(_chat_id)], ...],
        Field(strict=False, min_length=1),
        AfterValidator(_distinct),
    ]
    send_wait_s_max: PositiveSeconds = 25.0


class Index(_Section):
    """The database of what is kept where; `url` with an absolute path."""

    url: Annotated[str, AfterValidator(_index_url)] = "sqlite:///data/tgstore.db"


class Cache(_Section):
    """Blocks kept on disk and in memory; sizes in bytes."""

    dir: FilePath = "data/cache"  # type: ignore[assignment] -- defaults are validated like what a file says
    bytes_max: Bytes = "2GiB"  # type: ignore[assignment] -- likewise
    memory_bytes_max: Bytes = "256MiB"  # type: ignore[assignment] -- likewise


class Service(_Section):
    """The object service on its loopback port (0: any free one). Uploads fill documents in `spool_dir`."""

    host: Annotated[str, AfterValidator(_loopback)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    object_bytes_max: Bytes = "5GiB"  # type: ignore[assignment] -- defaults are validated like what a file says
    spool_dir: FilePath = "data/spool"  # type: ignore[assignment] -- likewise


class Copies(_Section):
    """Background copies: how many at once, and how failures are tried again (the pause doubles, in seconds)."""

    concurrency: Annotated[int, Field(ge=1, le=64)] = 2
    attempts_max: Annotated[int, Field(ge=1, le=1000)] = 8
    retry_delay_s_min: PositiveSeconds = 5.0
    retry_delay_s_max: PositiveSeconds = 3600.0


class Credential(_Section):
    """A key pair that clients sign with."""

    access_key_id: Secret
    secret_access_key: Secret


class Origin(_Section):
    """The real bucket, and our own keys for it (both None where it is read without)."""

    endpoint: Annotated[str, AfterValidator(_endpoint)]
    bucket: Annotated[str, AfterValidator(_origin_bucket_name)]
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}$")] = "us-east-1"
    addressing: Literal["virtual", "path"] = "virtual"
    access_key_id: Secret | None = None
    secret_access_key: Secret | None = None


class Bucket(_Section):
    """A bucket that we answer for."""

    name: Annotated[str, AfterValidator(_bucket_name)]
    hosts: Hosts = ()
    path_hosts: Hosts = ()
    anonymous_read: bool = False
    unknown_keys: Literal["origin", "reject"] = "origin"
    credentials: Annotated[tuple[Credential, ...], Field(strict=False)] = ()
    origin: Origin | None = None


class Config(_Section):
    """All settings; made by `load_config` only. Paths are absolute where the settings file's is."""

    telegram: Telegram
    index: Index
    cache: Cache
    service: Service
    copies: Copies
    buckets: Annotated[tuple[Bucket, ...], Field(strict=False, min_length=1)]


def find_config_path(option: str | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """The settings file: the one of the option, else of TGSTORE_CONFIG, else config.toml in `cwd`. Raises ConfigError."""
    for said_by, name in (("the option", option), (CONFIG_VARIABLE, environ.get(CONFIG_VARIABLE))):
        if name:
            path = cwd / Path(name).expanduser()
            if not path.is_file():
                raise ConfigError(Problem(str(path), "", "", f"expected the settings file here, as {said_by} says"))
            return path
    path = cwd / CONFIG_NAME
    if not path.is_file():
        raise ConfigError(
            Problem(
                str(path),
                "",
                "",
                f"there is no such file; copy config.example.toml to {CONFIG_NAME} and fill it in, or name another file "
                f"with --set tgstore_config=PATH or the environment variable {CONFIG_VARIABLE}",
            )
        )
    return path


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read and validate the settings. Raises ConfigError with everything that is wrong."""
    content = _parse(path)
    tokens = [token.strip() for token in environ.get(BOT_TOKENS_VARIABLE, "").split(",") if token.strip()]
    if tokens and isinstance(content.setdefault("telegram", {}), dict):
        content["telegram"]["bot_tokens"] = tokens
    for section in ("telegram", "index", "cache", "service", "copies"):
        content.setdefault(section, {})
    try:
        config = Config.model_validate(content, context=_Surroundings(path.absolute().parent, environ))
    except ValidationError as error:
        raise ConfigError(*(_problem(path, details, tokens) for details in error.errors(include_url=False))) from None
    contradictions = [Problem(str(path), key, value, expected) for key, value, expected in _contradictions(config)]
    if contradictions:
        raise ConfigError(*contradictions)
    return config


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_CONFIG_BYTES_MAX + 1)
        if len(content) > _CONFIG_BYTES_MAX:
            raise ConfigError(Problem(str(path), "", "", f"expected a file of at most {_CONFIG_BYTES_MAX} bytes"))
        return tomllib.loads(content.decode())
    except OSError as error:
        raise ConfigError(Problem(str(path), "", "", f"the file cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError as error:
        raise ConfigError(Problem(str(path), "", "", f"expected UTF-8 text (byte {error.start} is not)")) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(Problem(str(path), "", "", f"not valid TOML: {error}")) from None


_MODELS: Mapping[str, type[_Section]] = {
    "telegram": Telegram,
    "index": Index,
    "cache": Cache,
    "service": Service,
    "copies": Copies,
    "buckets": Bucket,
    "credentials": Credential,
    "origin": Origin,
}


def _problem(path: Path, details: ErrorDetails, tokens: list[str]) -> Problem:
    location = details["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    if tokens and location[:2] == ("telegram", "bot_tokens"):
        return Problem(f"environment variable {BOT_TOKENS_VARIABLE}", key, "***", _expected(details))
    return Problem(str(path), key, _shown(details), _expected(details))


def _shown(details: ErrorDetails) -> str:
    """The value as it may be shown: nothing that is, or could be, a secret in the wrong place."""
    value = details["input"]
    if details["type"] in {"missing", "extra_forbidden"}:
        return ""
    if isinstance(value, dict | list | tuple):
        return "a table" if isinstance(value, dict) else "a list"
    if _SECRET_KEYS.intersection(part for part in details["loc"] if isinstance(part, str)):
        return "***"
    if details["type"] in {"model_type", "dict_type", "tuple_type", "list_type"} or not isinstance(value, str):
        return "text" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return _quoted(value)


def _quoted(value: str) -> str:
    """In quotes, cut off where it is long, without a password or a bot token that a URL may hold."""
    masked = re.sub(r"//[^/?#]*@", "//***@", value)
    masked = re.sub(r"[0-9]{3,}:[A-Za-z0-9_-]{3,}", "***", masked)
    masked = re.sub(r"\?.*", "?***", masked, flags=re.DOTALL)
    return json.dumps(masked[:_VALUE_SHOWN_CHARS_MAX], ensure_ascii=False)


def _expected(details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    match details["type"]:
        case "missing":
            return "this key is missing"
        case "extra_forbidden":
            return _unknown(details["loc"])
        case "value_error":
            return str(context["error"])
        case "model_type" | "dict_type":
            return "expected a table"
        case "tuple_type" | "list_type":
            return "expected a list"
        case "too_short":
            return "expected at least one entry"
        case "literal_error":
            return f"expected {str(context['expected']).replace(chr(39), chr(34))}"
        case "string_pattern_mismatch":
            return "expected a region like eu-central-1, or auto"
        case _:
            return details["msg"].replace("Input should be", "expected")


def _unknown(location: tuple[int | str, ...]) -> str:
    """There is no such key; which one was meant."""
    names = [part for part in location if isinstance(part, str)]
    model = _MODELS.get(names[-2], Config) if len(names) > 1 else Config
    known = [name for name in model.model_fields if name not in names[:-1]]
    near = difflib.get_close_matches(names[-1], known, n=1, cutoff=0.5)
    if near:
        return f"there is no such key; did you mean {near[0]}?"
    elsewhere = [section for section, other in _MODELS.items() if names[-1] in other.model_fields]
    if elsewhere:
        return f"there is no such key here; it belongs to {elsewhere[0]}"
    return f"there is no such key; expected one of {', '.join(known)}"


def _contradictions(config: Config) -> Iterator[tuple[str, str, str]]:
    """Values that are right alone and wrong together: key, value as it may be shown, what was expected."""
    yield from _repeated_bots(config)
    if config.copies.retry_delay_s_min > config.copies.retry_delay_s_max:
        shown = str(config.copies.retry_delay_s_min)
        yield "copies.retry_delay_s_min", shown, "expected no more than copies.retry_delay_s_max"
    yield from _repeated_names(config)
    yield from _repeated_access_keys(config)
    for number, bucket in enumerate(config.buckets):
        key = f"buckets[{number}]"
        if not bucket.hosts and not bucket.path_hosts:
            yield f"{key}.hosts", "[]", "expected a host here or in path_hosts: else no request means this bucket"
        if bucket.origin is not None:
            yield from _half_a_key_pair(key, bucket.origin)
            yield from _leads_back(config, key, bucket.origin)


def _repeated_bots(config: Config) -> Iterator[tuple[str, str, str]]:
    seen: dict[str, int] = {}
    for number, token in enumerate(config.telegram.bot_tokens):
        bot_id = token.get_secret_value().partition(":")[0]
        if bot_id in seen:
            yield f"telegram.bot_tokens[{number}]", "***", f"expected another bot than bot_tokens[{seen[bot_id]}]"
        seen.setdefault(bot_id, number)


def _repeated_names(config: Config) -> Iterator[tuple[str, str, str]]:
    """Bucket names and hosts must say which bucket is meant; a host of `path_hosts` may serve many buckets, but only in paths."""
    buckets: dict[str, str] = {}
    hosts: dict[str, str] = {}
    for number, bucket in enumerate(config.buckets):
        key = f"buckets[{number}].name"
        if bucket.name in buckets:
            yield key, _quoted(bucket.name), f"expected another name than {buckets[bucket.name]}"
        buckets.setdefault(bucket.name, key)
        for position, host in enumerate(bucket.hosts):
            key = f"buckets[{number}].hosts[{position}]"
            if host in hosts:
                yield key, _quoted(host), f"expected a host of one bucket only, but {hosts[host]} is the same"
            hosts.setdefault(host, key)
    for number, bucket in enumerate(config.buckets):
        for position, host in enumerate(bucket.path_hosts):
            if host in hosts:
                key = f"buckets[{number}].path_hosts[{position}]"
                yield (
                    key,
                    _quoted(host),
                    f"expected a host that means no bucket by itself, but {hosts[host]} is the same",
                )


def _repeated_access_keys(config: Config) -> Iterator[tuple[str, str, str]]:
    secrets: dict[SecretStr, tuple[str, SecretStr]] = {}
    for number, bucket in enumerate(config.buckets):
        for position, credential in enumerate(bucket.credentials):
            key = f"buckets[{number}].credentials[{position}]"
            first, secret = secrets.setdefault(credential.access_key_id, (key, credential.secret_access_key))
            if secret != credential.secret_access_key:
                yield f"{key}.secret_access_key", "***", f"expected the secret of {first}: it is the same access key"


def _half_a_key_pair(key: str, origin: Origin) -> Iterator[tuple[str, str, str]]:
    for name, other in (("access_key_id", "secret_access_key"), ("secret_access_key", "access_key_id")):
        if getattr(origin, name) is None and getattr(origin, other) is not None:
            yield f"{key}.origin.{name}", "", f"this key is missing, while {other} is there: expected both or neither"


def _leads_back(config: Config, key: str, origin: Origin) -> Iterator[tuple[str, str, str]]:
    """An origin under one of our own names leads back to us once DNS does.

    Our listening ports are not known here. So an endpoint that names its port is taken at its word: it is how a local server on
    another port is written, and how to say that clients come through us as their HTTP proxy, so that DNS stays as it is.
    `tgstore check` looks where the names really lead.
    """
    parts = urlsplit(origin.endpoint)
    name = _host(parts.hostname or "")
    reached = f"{origin.bucket}.{name}".lower() if origin.addressing == "virtual" else name
    ours = {host for bucket in config.buckets for host in (*bucket.hosts, *bucket.path_hosts)}
    if parts.port is None and (same := next((host for host in (reached, name) if host in ours), None)):
        advice = (
            f"{same} is one of our own hosts, so this would lead back to us; expected a name that still leads to the real "
            "bucket once DNS leads here, or, where clients use us as their HTTP proxy and DNS stays as it is, the same with its "
            f"port: {origin.endpoint}:{80 if parts.scheme == 'http' else 443}"
        )
        yield f"{key}.origin.endpoint", _quoted(origin.endpoint), advice
