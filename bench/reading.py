"""Reads of small objects from memory, from disk and cold, and of a large one, against the stand-in's own file host.

The yardstick is always the same bytes, fetched straight from the file host by the same client with as many readers. It sends files
by sendfile(2) from the page cache over loopback, faster than any network. So the large read also stands beside mitmproxy without
tgstore in front of that file host, which is what this proxy can do at all; and it is measured once more with each connection of the
file host held to `NETWORK_BYTES_PER_S`, as behind a network.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from bench import rig
from tests.end_to_end.lab.clients import s3_client
from tests.end_to_end.lab.standin import BOT_TOKENS, Standin
from tests.end_to_end.lab.tgstore import Tgstore

LARGE_BYTES = int(os.environ.get("BENCH_LARGE_BYTES", 1 << 30))
PIECE = bytes(range(256)) * 4096
READERS = (1, 16)
LARGE_ROUNDS = 3
SMALL_OBJECTS = 100
SMALL_READS = 800
NETWORK_BYTES_PER_S = 25_000_000
# Each is: what may be held on disk and in memory.
CACHES = {"hot": ("2GiB", "256MiB"), "warm": ("2GiB", "1MiB"), "cold": ("1MiB", "1MiB")}


def small(folder: Path) -> None:
    """GETs of 100 kB objects in random order, each object in a document of its own."""
    for name, cache in CACHES.items():
        place = folder / name
        place.mkdir()
        with rig.origin_server(place) as origin, rig.tgstore(place, origin, cache=cache) as (product, standin):
            keys = [f"{number}.bin" for number in range(SMALL_OBJECTS)]
            for number, key in enumerate(keys):
                _put(product, key, number.to_bytes(4, "big") * (rig.IMAGE_BYTES // 4))
            ours = [f"http://127.0.0.1:{product.port}/{rig.BUCKET}/{key}" for key in keys]
            theirs = [link for key in keys for link in _links(product, standin, key)]
            fetch_together([ours * 2])
            for readers in READERS:
                _compare_small(name, readers, ours, theirs)


def _compare_small(name: str, readers: int, ours: list[str], theirs: list[str]) -> None:
    def measure(urls: list[str]) -> float:
        reads = SMALL_READS // readers
        seconds, _ = fetch_together([random.choices(urls, k=reads) for _ in range(readers)])
        return reads * readers / seconds

    per_s, raw_per_s, ratio = rig.paired(lambda: measure(ours), lambda: measure(theirs))
    rig.row(
        f"{name} GET, 100 kB, {readers} at once, requests/s", f"{per_s:.0f}", f"{raw_per_s:.0f}", f"ratio {ratio:.2f}"
    )


def large(folder: Path) -> None:
    """A cold GET of 1 GiB: too large for any cache."""
    with rig.origin_server(folder) as origin, rig.tgstore(folder, origin) as (product, standin):
        _put(product, "large.bin", PIECE, times=LARGE_BYTES // len(PIECE))
        links = _links(product, standin, "large.bin")
        ours = [f"http://127.0.0.1:{product.port}/{rig.BUCKET}/large.bin"]
        upstream = f"reverse:{standin.url}"
        with rig.bare_mitmdump(folder, "--mode", upstream, "--set", "stream_large_bodies=1") as bare:
            behind_bare = [link.replace(standin.url, f"http://127.0.0.1:{bare}") for link in links]
            for readers in READERS:
                _compare_large("file host", readers, ours, links)
                _compare_large("bare mitmproxy", readers, ours, behind_bare)
        slow = {"kind": "slow", "bytes_per_s": NETWORK_BYTES_PER_S}
        standin.control("faults", [{"match": {"method": "download"}, "times": None, "action": slow}])
        for readers in READERS:
            _compare_large(f"{NETWORK_BYTES_PER_S // 10**6} MB/s each", readers, ours, links)


def _compare_large(yardstick: str, readers: int, ours: list[str], theirs: list[str]) -> None:
    def measure(urls: list[str]) -> float:
        seconds, size = fetch_together([urls] * readers)
        return size / seconds / 1e6

    per_s, raw_per_s, ratio = rig.paired(lambda: measure(ours), lambda: measure(theirs), rounds=LARGE_ROUNDS)
    title = f"cold GET, {LARGE_BYTES / (1 << 30):g} GiB, {readers} at once, MB/s"
    rig.row(title, f"{per_s:.0f}", f"{raw_per_s:.0f}", f"ratio {ratio:.2f}", yardstick)


def fetch_together(urls_of_each: Sequence[list[str]]) -> tuple[float, int]:
    """Seconds and bytes of all clients, from the first start to the last end. Their own start is not counted."""
    with tempfile.TemporaryDirectory(prefix="tgstore-bench-") as folder:
        clients = []
        for number, urls in enumerate(urls_of_each):
            listed = Path(folder, str(number))
            listed.write_text("\n".join(urls))
            argv = [sys.executable, "-m", "bench.fetch", str(listed)]
            clients.append(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=rig.PROJECT))
        for client in clients:
            assert client.stdout is not None
            client.stdout.readline()
        started = time.perf_counter()
        for client in clients:
            assert client.stdin is not None
            client.stdin.write(b"\n")
            client.stdin.flush()
        sizes = [int(client.communicate()[0]) for client in clients]
        return time.perf_counter() - started, sum(sizes)


def _put(product: Tgstore, key: str, piece: bytes, *, times: int = 1) -> None:
    s3 = s3_client(product.target(), signature_version="s3v4")
    url = s3.generate_presigned_url("put_object", {"Bucket": rig.BUCKET, "Key": key})
    headers = {"content-length": str(times * len(piece))}
    with httpx.Client(trust_env=False, timeout=600) as client:
        client.put(url, content=itertools.repeat(piece, times), headers=headers).raise_for_status()


def _links(product: Tgstore, standin: Standin, key: str) -> list[str]:
    """Links to the documents that hold an object, in order."""
    tokens = {int(token.partition(":")[0]): token for token in BOT_TOKENS}
    rows = product.query(
        "SELECT bot_id, file_id FROM extents JOIN documents USING (document_id) WHERE key = ? ORDER BY position",
        key.encode(),
    )
    links = []
    with httpx.Client(trust_env=False) as client:
        for bot_id, file_id in rows:
            asked = client.post(f"{standin.url}/bot{tokens[bot_id]}/getFile", data={"file_id": file_id})
            path = asked.raise_for_status().json()["result"]["file_path"]
            links.append(f"{standin.url}/file/bot{tokens[bot_id]}/{path}")
    return links
