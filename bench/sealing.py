"""What encryption costs: sealing and opening alone, and PUT and GET of a large object with and without it.

The yardstick of the first is `cryptography`'s AES-256-GCM on one buffer of a document's size; that of the second the same product
without `[encryption]`, asked in turn. Then one byte from the middle of the large object, where the file host honours Range: how
many bytes were downloaded for it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from addon.store.records import BLOCK_BYTES, PACK_SEGMENT_BYTES
from addon.store.seal_format import Header
from addon.store.sealing import MasterKeys
from bench import rig
from tests.end_to_end.lab.clients import s3_client
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.tgstore import Tgstore

# BENCH_SEALING_MIB=1024 for an object of a gibibyte.
OBJECT_BYTES = int(os.environ.get("BENCH_SEALING_MIB", "256")) << 20
DOCUMENT_BYTES = 19 * BLOCK_BYTES
ROUNDS = 3
ENCRYPTION = f'\n[encryption]\nkey = "{"5a" * 32}"\n'
RANGE = ("--range", "on")
PIECE = os.urandom(BLOCK_BYTES)


def sealing(folder: Path) -> None:
    """See the module."""
    _alone()
    with (
        rig.origin_server(folder) as origin,
        rig.tgstore(folder / "plain", origin, stand_in=RANGE) as plain,
        rig.tgstore(folder / "encrypted", origin, stand_in=RANGE, settings=ENCRYPTION) as encrypted,
    ):
        _large_objects(plain[0], encrypted[0])
        for name, (product, standin) in {"plain": plain, "encrypted": encrypted}.items():
            rig.row(f"1 byte of {rig.mib(OBJECT_BYTES)}, {name}", f"{_bytes_for_one(product, standin)} downloaded")


def _alone() -> None:
    keys = MasterKeys(os.urandom(32))
    content = os.urandom(DOCUMENT_BYTES)
    raw = AESGCM(os.urandom(32))
    yardstick_s = statistics.median(_seconds(lambda: raw.encrypt(bytes(12), content, b"")) for _ in range(9))
    for segment_bytes in (BLOCK_BYTES, PACK_SEGMENT_BYTES):
        document = keys.document(Header("d" * 32, keys.new_seal(), segment_bytes, DOCUMENT_BYTES))
        sealed = document.sealed(content)
        for name, work in {
            "seal": lambda document=document: document.sealed(content),
            "open": lambda document=document, sealed=sealed: document.opened(sealed),
        }.items():
            took_s = statistics.median(_seconds(work) for _ in range(9))
            rig.row(
                f"{name} a document in segments of {segment_bytes >> 10} KiB, MB/s",
                f"{DOCUMENT_BYTES / took_s / 1e6:.0f}",
                f"{DOCUMENT_BYTES / yardstick_s / 1e6:.0f} AES-GCM alone",
            )


def _large_objects(plain: Tgstore, encrypted: Tgstore) -> None:
    """PUT and GET in turn; each object is asked for the first time."""
    rates: dict[tuple[str, str], list[float]] = {}
    with httpx.Client(trust_env=False, timeout=600) as client:
        for number in range(ROUNDS):
            for name, product in (("plain", plain), ("encrypted", encrypted)):
                place = {"Bucket": rig.BUCKET, "Key": f"large-{number}.bin"}
                s3 = s3_client(product.target(), signature_version="s3v4")
                url = s3.generate_presigned_url("put_object", place)
                put_s = _seconds(lambda url=url: _put(client, url))
                url = s3.generate_presigned_url("get_object", place)
                get_s = _seconds(lambda url=url: _get(client, url))
                rates.setdefault((name, "PUT"), []).append(OBJECT_BYTES / put_s / 1e6)
                rates.setdefault((name, "GET"), []).append(OBJECT_BYTES / get_s / 1e6)
    for method in ("PUT", "GET"):
        without, sealed = (statistics.median(rates[name, method]) for name in ("plain", "encrypted"))
        label = f"{method} of {rig.mib(OBJECT_BYTES)} encrypted, MB/s"
        rig.row(label, f"{sealed:.0f}", f"{without:.0f} plain", f"ratio {sealed / without:.2f}")


def _put(client: httpx.Client, url: str) -> None:
    pieces = itertools.repeat(PIECE, OBJECT_BYTES // len(PIECE))
    client.put(url, content=pieces, headers={"content-length": str(OBJECT_BYTES)}).raise_for_status()


def _get(client: httpx.Client, url: str) -> None:
    digest = hashlib.sha256()
    with client.stream("GET", url) as answer:
        answer.raise_for_status()
        for piece in answer.iter_raw():
            digest.update(piece)
    expected = hashlib.sha256()
    for _ in range(OBJECT_BYTES // len(PIECE)):
        expected.update(PIECE)
    if digest.digest() != expected.digest():
        raise SystemExit("WRONG BYTES")


def _bytes_for_one(product: Tgstore, standin: Standin) -> int:
    s3 = s3_client(product.target(), signature_version="s3v4")
    before = len(standin.control("log"))
    middle = OBJECT_BYTES // 2 + 12345
    body = s3.get_object(Bucket=rig.BUCKET, Key="large-0.bin", Range=f"bytes={middle}-{middle}")["Body"].read()
    if body != PIECE[middle % len(PIECE) :][:1]:
        raise SystemExit("WRONG BYTE")
    return sum(entry["sent_bytes"] for entry in standin.control("log")[before:] if entry["method"] == "download")


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
