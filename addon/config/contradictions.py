"""Values that are right by themselves and wrong together."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from pydantic import SecretStr

from addon.config.models import Config, Origin
from addon.config.problems import quoted
from addon.config.values import host, sealing_key

# The Bot API gives back at most 20 MiB of a document, a local server takes 2000 MB (https://core.telegram.org/bots/api#sending-files).
DOCUMENT_BYTES_MAX = 20_000_000
LOCAL_DOCUMENT_BYTES_MAX = 2_000_000_000
DOCUMENT_BYTES_MIN = PACK_BYTES_MIN = 2 << 20


def contradictions(config: Config) -> Iterator[tuple[str, str, str]]:
    """Each as its key, its value as it may be shown, and what was expected."""
    yield from _repeated_bots(config)
    if config.copies.retry_delay_s_min > config.copies.retry_delay_s_max:
        shown = str(config.copies.retry_delay_s_min)
        yield "copies.retry_delay_s_min", shown, "expected no more than copies.retry_delay_s_max"
    yield from _of_the_store(config)
    yield from _of_the_encryption(config)
    yield from _repeated_names(config)
    yield from _repeated_access_keys(config)
    for number, bucket in enumerate(config.buckets):
        key = f"buckets[{number}]"
        if not bucket.hosts and not bucket.path_hosts:
            yield f"{key}.hosts", "[]", "expected a host here or in path_hosts: else no request means this bucket"
        for name, value, usual in (("mode", bucket.mode, "store"), ("writes", bucket.writes, "telegram")):
            if bucket.origin is None and value != usual:
                yield f"{key}.{name}", quoted(value), f'expected "{usual}": this bucket has no [buckets.origin]'
        if bucket.origin is not None:
            yield from _half_a_key_pair(key, bucket.origin)
            yield from _leads_back(config, key, bucket.origin)


def _of_the_store(config: Config) -> Iterator[tuple[str, str, str]]:
    store, chats = config.store, len(config.telegram.chat_ids)
    if store.copies > chats:
        yield "store.copies", str(store.copies), f"expected no more than there are telegram.chat_ids ({chats})"
    most = LOCAL_DOCUMENT_BYTES_MAX if config.telegram.local else DOCUMENT_BYTES_MAX
    document_bytes_max = config.telegram.document_bytes_max
    if not DOCUMENT_BYTES_MIN <= document_bytes_max <= most:
        expected = f"expected {DOCUMENT_BYTES_MIN} … {most} bytes, which a document may have"
        yield "telegram.document_bytes_max", str(document_bytes_max), expected
    elif not PACK_BYTES_MIN <= store.pack_bytes_max <= document_bytes_max:
        expected = f"expected {PACK_BYTES_MIN} … {document_bytes_max} bytes, which a document may have"
        yield "store.pack_bytes_max", str(store.pack_bytes_max), expected
    if store.ack == "spool" and store.spool_bytes_max < 2 * document_bytes_max:
        least = 2 * document_bytes_max
        expected = f'expected {least} bytes at least, two whole documents, while store.ack is "spool"'
        yield "store.spool_bytes_max", str(store.spool_bytes_max), expected


def _of_the_encryption(config: Config) -> Iterator[tuple[str, str, str]]:
    encryption = config.encryption
    if encryption is None:
        return
    if encryption.key is None and not encryption.former_keys and not encryption.lost_key_ids:
        yield "encryption.key", "", "this key is missing: expected it, or no [encryption] at all"
    seen: dict[bytes, str] = {} if encryption.key is None else {sealing_key(encryption.key): "encryption.key"}
    for number, former in enumerate(encryption.former_keys):
        first = seen.setdefault(sealing_key(former), name := f"encryption.former_keys[{number}]")
        if first != name:
            yield name, "***", f"expected another key than {first}"


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
            yield key, quoted(bucket.name), f"expected another name than {buckets[bucket.name]}"
        buckets.setdefault(bucket.name, key)
        for position, name in enumerate(bucket.hosts):
            key = f"buckets[{number}].hosts[{position}]"
            if name in hosts:
                yield key, quoted(name), f"expected a host of one bucket only, but {hosts[name]} is the same"
            hosts.setdefault(name, key)
    for number, bucket in enumerate(config.buckets):
        for position, name in enumerate(bucket.path_hosts):
            if name in hosts:
                key = f"buckets[{number}].path_hosts[{position}]"
                yield (
                    key,
                    quoted(name),
                    f"expected a host that means no bucket by itself, but {hosts[name]} is the same",
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
    name = host(parts.hostname or "")
    reached = f"{origin.bucket}.{name}".lower() if origin.addressing == "virtual" else name
    ours = {name for bucket in config.buckets for name in (*bucket.hosts, *bucket.path_hosts)}
    if parts.port is None and (same := next((one for one in (reached, name) if one in ours), None)):
        advice = (
            f"{same} is one of our own hosts, so this would lead back to us; expected a name that still leads to the real "
            "bucket once DNS leads here, or, where clients use us as their HTTP proxy and DNS stays as it is, the same with its "
            f"port: {origin.endpoint}:{80 if parts.scheme == 'http' else 443}"
        )
        yield f"{key}.origin.endpoint", quoted(origin.endpoint), advice
