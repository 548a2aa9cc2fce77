"""Runs the benchmarks and prints a table; see the package's docstring."""

from __future__ import annotations

import hashlib
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from bench import rig
from bench.complete import complete
from bench.listing import listing
from bench.packs import packs
from bench.reading import large, small
from bench.recovery import recovery
from bench.sealing import sealing
from tests.end_to_end.lab.clients import s3_client
from tests.end_to_end.lab.standin import BOT_TOKENS, CHAT_IDS

LARGE_BYTES = 2 << 30
PUT_BYTES = 1 << 20
PUTS = 60
# It answers itself; without "lazy" mitmdump would first connect upstream, where nobody is.
HOT_BARE = (
    "-s", str(rig.PROJECT / "bench/hot_bare.py"), "--mode", "reverse:http://127.0.0.1:1", "--set", "connection_strategy=lazy",
)  # fmt: skip
FORM = {"chat_id": str(CHAT_IDS[0]), "disable_content_type_detection": "true"}
PIECE = bytes(range(256)) * 4096


def hot(folder: Path) -> None:
    """A hot 100 kB GET against a two-line addon that answers the same bytes."""
    bare_env = {"BENCH_BODY_BYTES": str(rig.IMAGE_BYTES)}
    with (
        rig.origin_server(folder) as origin,
        rig.tgstore(folder, origin) as (product, _),
        rig.bare_mitmdump(folder, *HOT_BARE, env=bare_env) as bare,
    ):
        s3_client(product.target(), signature_version="s3v4").put_object(
            Bucket=rig.BUCKET, Key="hot.png", Body=b"\x89" * rig.IMAGE_BYTES, ContentType="image/png"
        )
        url = f"http://127.0.0.1:{product.port}/{rig.BUCKET}/hot.png"
        ours, yardstick, ratio = rig.paired(
            lambda: rig.wrk(url), lambda: rig.wrk(f"http://127.0.0.1:{bare}/{rig.BUCKET}/hot.png")
        )
        rig.row("hot GET, 100 kB, requests/s", f"{ours:.0f}", f"{yardstick:.0f} bare", f"ratio {ratio:.2f}")


def miss(folder: Path) -> None:
    """A miss against bare mitmdump in reverse mode, in front of the same origin; every request asks for another key."""
    script = folder / "keys.lua"
    script.write_text(
        "local n = 0\nlocal base = os.time()\n"
        "request = function() n = n + 1; return wrk.format('GET', wrk.path .. base .. '-' .. n) end\n"
    )
    with (
        rig.origin_server(folder) as origin,
        rig.tgstore(folder, origin, limits="exact") as (product, _),
        rig.bare_mitmdump(folder, "--mode", f"reverse:{origin.endpoint}", "--set", "stream_large_bodies=1") as bare,
    ):
        numbers = itertools.count()
        ours, yardstick, ratio = rig.paired(
            lambda: rig.wrk(f"http://127.0.0.1:{product.port}/{rig.BUCKET}/a{next(numbers)}-", script=str(script)),
            lambda: rig.wrk(f"http://127.0.0.1:{bare}/{rig.BUCKET}/b{next(numbers)}-", script=str(script)),
        )
        rig.row("miss, 100 kB, requests/s", f"{ours:.0f}", f"{yardstick:.0f} bare", f"ratio {ratio:.2f}")


def put(folder: Path) -> None:
    """A 1 MiB PUT against the stand-in's own time for a document of that size, in turn."""
    with rig.origin_server(folder) as origin, rig.tgstore(folder, origin) as (product, standin):
        s3 = s3_client(product.target(), signature_version="s3v4")
        url = s3.generate_presigned_url("put_object", {"Bucket": rig.BUCKET, "Key": "put.bin"}, ExpiresIn=3600)
        api = f"{standin.url}/bot{BOT_TOKENS[0]}/sendDocument"
        ours, alone = [], []
        with httpx.Client(trust_env=False, timeout=60) as client:
            for number in range(PUTS):
                body = number.to_bytes(4, "big") * (PUT_BYTES // 4)
                ours.append(_seconds(lambda body=body: client.put(url, content=body)))
                document = {"document": ("b.bin", body + b"\x00" * number)}
                alone.append(_seconds(lambda document=document: client.post(api, data=FORM, files=document)))
        ours_ms, alone_ms = 1000 * statistics.median(ours), 1000 * statistics.median(alone)
        rig.row(
            "PUT, 1 MiB, ms (median)", f"{ours_ms:.1f}", f"{alone_ms:.1f} stand-in", f"adds {ours_ms - alone_ms:.1f}"
        )


def acknowledged(folder: Path) -> None:
    """PUTs one after the other, acknowledged by Telegram (here the stand-in, which takes no time) and by the local disk, against
    the bare fsync of a file of that size and its folder."""
    for ack in ("telegram", "spool"):
        within, settings = folder / ack, f'[store]\nack = "{ack}"\n'
        with rig.origin_server(folder) as origin, rig.tgstore(within, origin, settings=settings) as (product, _):
            s3 = s3_client(product.target(), signature_version="s3v4")
            url = s3.generate_presigned_url("put_object", {"Bucket": rig.BUCKET, "Key": "put.bin"}, ExpiresIn=3600)
            with httpx.Client(trust_env=False, timeout=60) as client:
                for size in (10_000, PUT_BYTES):
                    ours, alone = [], []
                    for number in range(PUTS):
                        body = number.to_bytes(4, "big") * (size // 4)
                        ours.append(_seconds(lambda url=url, body=body: client.put(url, content=body)))
                        alone.append(_synced_s(within / f"bare-{size}-{number}", body))
                    ours_ms, alone_ms = 1000 * statistics.median(ours), 1000 * statistics.median(alone)
                    slowest = f"{1000 * max(ours):.0f} slowest"
                    name = f'PUT, {size // 1000} kB, ack = "{ack}", ms (median)'
                    rig.row(name, f"{ours_ms:.1f}", f"{alone_ms:.1f} fsync alone", slowest)


def _synced_s(path: Path, body: bytes) -> float:
    started = time.perf_counter()
    with path.open("xb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    handle = os.open(path.parent, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
    return time.perf_counter() - started


def _seconds(call: Callable[[], httpx.Response]) -> float:
    started = time.perf_counter()
    call().raise_for_status()
    return time.perf_counter() - started


def memory(folder: Path) -> None:
    """What a 2 GiB PUT and a 2 GiB GET add to the peak memory of the mitmdump process."""
    with rig.origin_server(folder) as origin, rig.tgstore(folder, origin) as (product, _):
        s3 = s3_client(product.target(), signature_version="s3v4")
        pid = product.process.pid
        place = {"Bucket": rig.BUCKET, "Key": "large.bin"}
        s3.put_object(**{**place, "Key": "warm.bin"}, Body=PIECE)
        with httpx.Client(trust_env=False, timeout=600) as client:
            rig.reset_peak_memory(pid)
            before = rig.peak_memory_bytes(pid)
            started = time.perf_counter()
            pieces = itertools.repeat(PIECE, LARGE_BYTES // len(PIECE))
            client.put(
                s3.generate_presigned_url("put_object", place),
                content=pieces,
                headers={"content-length": str(LARGE_BYTES)},
            ).raise_for_status()
            put_s = time.perf_counter() - started
            put_peak = rig.peak_memory_bytes(pid) - before
            rig.row("2 GiB PUT", f"+{rig.mib(put_peak)} peak", f"{LARGE_BYTES / put_s / 1e6:.0f} MB/s")
            rig.reset_peak_memory(pid)
            before = rig.peak_memory_bytes(pid)
            started, size, digest = time.perf_counter(), 0, hashlib.sha256()
            with client.stream("GET", s3.generate_presigned_url("get_object", place)) as answer:
                for piece in answer.iter_raw():
                    size += len(piece)
                    digest.update(piece)
            get_s = time.perf_counter() - started
            get_peak = rig.peak_memory_bytes(pid) - before
        expected = hashlib.sha256()
        for _ in range(LARGE_BYTES // len(PIECE)):
            expected.update(PIECE)
        same = "equal bytes" if (size, digest.digest()) == (LARGE_BYTES, expected.digest()) else "WRONG BYTES"
        rig.row("2 GiB GET", f"+{rig.mib(get_peak)} peak", f"{LARGE_BYTES / get_s / 1e6:.0f} MB/s", same)


BENCHMARKS = {
    "memory": memory, "hot": hot, "miss": miss, "put": put, "acknowledged": acknowledged, "listing": listing, "complete": complete,
    "sealing": sealing, "recovery": recovery, "small": small, "large": large, "packs": packs,
}  # fmt: skip


def main() -> None:
    names = rig.run_names(sys.argv[1:], list(BENCHMARKS))
    print(f"on {rig.machine()}; medians of {rig.ROUNDS} rounds in turn where rates are compared", flush=True)
    for name in names:
        with tempfile.TemporaryDirectory(prefix="tgstore-bench-") as folder:
            BENCHMARKS[name](Path(folder))


if __name__ == "__main__":
    main()
