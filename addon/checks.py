"""What `tgstore check` tries, and the addon at its start without writing to Telegram: every setting, one result each."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from addon.config import Bucket, Config
from addon.index.sql_index import open_index
from addon.origin.client import S3Origin
from addon.origin.probe import probe as probe_origin
from addon.store.key_check import ADVICE, missing_keys, missing_text
from addon.store.migration import Amount
from addon.store.own_connections import OwnConnections
from addon.store.ports import IndexUnavailable
from addon.store.probe import ProbeResult
from addon.store.sealing import MasterKeys
from addon.telegram.probe import probe as probe_telegram

DEFAULT_PORTS = {"http": 80, "https": 443}


async def check_all(config: Config, *, telegram_writes: bool) -> list[ProbeResult]:
    """Try everything; never raises for what it finds."""
    results = await probe_telegram(
        config.telegram.api_url,
        [token.get_secret_value() for token in config.telegram.bot_tokens],
        config.telegram.chat_ids,
        writes=telegram_writes,
        local=config.telegram.local,
    )
    index_result, retired, amounts = await _check_index(config.index.url)
    results.append(index_result)
    if config.encryption is not None or missing_keys(amounts, frozenset()):
        results.append(_check_keys(config, amounts))
    results += [
        await asyncio.to_thread(_check_folder, "cache.dir", config.cache.dir),
        await asyncio.to_thread(_check_folder, "service.spool_dir", config.service.spool_dir),
    ]
    for bucket in config.buckets:
        if bucket.name in retired:
            results.append(ProbeResult(f"origin of bucket {bucket.name}", True, "retired: it is not asked any more"))
        elif bucket.origin is not None:
            results += await _check_origin(bucket)
            results.append(await asyncio.to_thread(_check_loop, bucket))
    return results


async def _check_index(url: str) -> tuple[ProbeResult, frozenset[str], Mapping[str, Amount]]:
    """The result, the buckets whose origin is not to be asked, and what is sealed under which keys. An index that does not answer
    knows of none: nothing that it holds is served either."""
    try:
        index = await open_index(url)
        try:
            await index.check_writable()
            retired, amounts = await index.retired_buckets(), await index.amounts_by_key()
        finally:
            await index.close()
    except IndexUnavailable as failure:
        advice = "make its folder writable, and look whether the disk is full"
        return ProbeResult("index.url", False, str(failure), advice), frozenset(), {}
    return ProbeResult("index.url", True, "can be written"), retired, amounts


def _check_keys(config: Config, amounts: Mapping[str, Amount]) -> ProbeResult:
    keys = MasterKeys(*config.sealing_keys)
    missing = missing_keys(amounts, keys.key_ids | config.lost_key_ids)
    if missing:
        return ProbeResult("encryption", False, missing_text(missing), ADVICE)
    detail = "nothing new is encrypted" if keys.key_id is None else f"what is new is encrypted under key {keys.key_id}"
    return ProbeResult("encryption", True, detail)


def _check_folder(name: str, folder: Path) -> ProbeResult:
    probe = folder / f"{uuid.uuid4().hex}.new"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"tgstore check")
        probe.unlink()
    except OSError as failure:
        return ProbeResult(name, False, f"{folder}: {failure.strerror}", "make the folder writable for this user")
    return ProbeResult(name, True, f"{folder} can be written")


async def _check_origin(bucket: Bucket) -> Sequence[ProbeResult]:
    origin = make_origin(bucket)
    if origin is None:
        return []
    try:
        return await probe_origin(origin, subject=f"origin of bucket {bucket.name}")
    finally:
        await origin.close()


def make_origin(bucket: Bucket, own: OwnConnections | None = None) -> S3Origin | None:
    """The client of a configured bucket's origin; `own` counts its connections."""
    settings = bucket.origin
    if settings is None:
        return None
    secret = settings.secret_access_key
    return S3Origin(
        endpoint=settings.endpoint,
        bucket=settings.bucket,
        region=settings.region,
        addressing=settings.addressing,
        access_key_id=settings.access_key_id.get_secret_value() if settings.access_key_id is not None else None,
        secret_access_key=secret.get_secret_value() if secret is not None else None,
        own=own,
    )


def _check_loop(bucket: Bucket) -> ProbeResult:
    """After the DNS repoint our hosts lead to us; where the origin's name leads to the same address and port, so does it.

    Only what can be seen without a listener: the addon itself asks each origin at its start, and refuses to run in front of itself.
    """
    subject = f"origin of bucket {bucket.name} leads elsewhere"
    assert bucket.origin is not None  # noqa: S101 -- the caller has looked
    endpoint = urlsplit(bucket.origin.endpoint)
    port = endpoint.port or DEFAULT_PORTS[endpoint.scheme]
    name = endpoint.hostname or ""
    host = f"{bucket.origin.bucket}.{name}" if bucket.origin.addressing == "virtual" else name
    ours = {host: _addresses(host) for host in (*bucket.hosts, *bucket.path_hosts)}
    theirs = _addresses(host)
    same = [host for host, addresses in ours.items() if addresses & theirs]
    if same and port in DEFAULT_PORTS.values():
        return ProbeResult(
            subject,
            False,
            f"{host} and our own {same[0]} have the same address",
            "give origin.endpoint a name that still leads to the real bucket",
        )
    return ProbeResult(subject, True, f"{host}:{port}")


def _addresses(host: str) -> set[str]:
    with contextlib.suppress(OSError):
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)}
    return set()
