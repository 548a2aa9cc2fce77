"""A page of a merged listing against what the origin alone takes for its page, over sizes.

The origin is a Ceph RGW whose bucket index is filled directly (bench/fill_bucket_index.py); every second of its keys has moved,
and stands in our index as well. Both are asked for the same page at random places, in turn, by requests that were signed
before the clock starts, over one connection each.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import random
import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench import rig
from bench.fill_index import add_moved, create_index
from bench.listing_keys import KEYS_A_FOLDER, key
from tests.end_to_end.lab import rgw as rgw_module
from tests.end_to_end.lab.rgw import PROGRAM_PATH, Rgw
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.tgstore import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Bucket, Tgstore
from tests.service.signing import EMPTY_SHA256, Key, sign

# Moved keys; as many have not moved. BENCH_LISTING_SIZES=1000,10000 makes a quick try.
SIZES = tuple(int(size) for size in os.environ.get("BENCH_LISTING_SIZES", "10000,100000,1000000").split(","))
# As Debian ships it, RGW leaves Nagle's algorithm on, and a page may wait 40 ms for an acknowledgement.
# BENCH_RGW_FRONTEND=tcp_nodelay=1 turns it off: then RGW is as quick as it can be.
FRONTEND_OPTIONS = os.environ.get("BENCH_RGW_FRONTEND", "")
# One shard is the quickest origin that there is. RGW itself gives a bucket a shard for each 100 000 objects.
SHARDS_OF_LAST_SIZE = 20
PAGES = 30
SYSTEM_PYTHON = "/usr/bin/python3"
LIMIT_S = 60.0
QUERIES = {
    "V2": "list-type=2&max-keys=1000",
    "V2, folders": "delimiter=%2F&list-type=2&max-keys=1000&prefix=photos%2F",
}


@dataclass
class Asker:
    """One client with one connection."""

    host: str
    by: Key

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection(self.host, timeout=LIMIT_S)

    def prepare(self, target: str) -> dict[str, str]:
        return dict(sign(self.by, "GET", target, self.host, payload=EMPTY_SHA256).headers)

    def timed(self, target: str, headers: dict[str, str]) -> tuple[float, bytes]:
        """How many seconds until the whole page was here, and the page."""
        started = time.perf_counter()
        self.connection.request("GET", target, headers=headers)
        answer = self.connection.getresponse()
        body = answer.read()
        took_s = time.perf_counter() - started
        if answer.status != 200:
            raise SystemExit(f"{self.host} answered {answer.status}: {body[:500]!r}")
        return took_s, body


def listing(folder: Path) -> None:
    """See the module."""
    if reason := rgw_module.why_not_here():
        raise SystemExit(reason)
    with running_rgw(folder) as rgw:
        rgw.origin.s3().create_bucket(Bucket=rig.BUCKET)
        reshard(rgw, 1)
        rgw.origin.s3().put_object(Bucket=rig.BUCKET, Key=key(0), Body=bytes(1000))
        standin = Standin(folder)
        product = Tgstore(folder / "product", standin, [Bucket(rig.BUCKET, rgw.origin)], options=["-q"])
        product.index_file.parent.mkdir()
        asyncio.run(create_index(product.index_file))
        filled = 0
        for size in SIZES:
            fill(rgw, product, filled, 2 * size)
            filled = 2 * size
            measure(rgw, product, standin, size, "1 shard")
        reshard(rgw, SHARDS_OF_LAST_SIZE)
        measure(rgw, product, standin, SIZES[-1], f"{SHARDS_OF_LAST_SIZE} shards")


@contextmanager
def running_rgw(folder: Path) -> Iterator[Rgw]:
    (folder / "rgw").mkdir()
    rgw = Rgw(folder / "rgw", frontend_options=FRONTEND_OPTIONS)
    try:
        rgw.start()
        yield rgw
    finally:
        rgw.stop()


def reshard(rgw: Rgw, shards: int) -> None:
    config = str(rgw.folder / "ceph.conf")
    argv = ["radosgw-admin", "-c", config, "-n", "client.rgw", "bucket", "reshard"]
    argv += [f"--bucket={rig.BUCKET}", f"--num-shards={shards}", "--yes-i-really-mean-it"]
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "PATH": PROGRAM_PATH}, timeout=600)


def fill(rgw: Rgw, product: Tgstore, filled: int, total: int) -> None:
    """The keys from `filled` to `total`: all of them at the origin, every second one in our index too."""
    script = str(rig.PROJECT / "bench" / "fill_bucket_index.py")
    config = str(rgw.folder / "ceph.conf")
    argv = [SYSTEM_PYTHON, script, config, key(0), str(filled), str(total - filled)]
    subprocess.run(argv, check=True, timeout=600, cwd=rig.PROJECT)
    add_moved(product.index_file, rig.BUCKET, ((number, key(number)) for number in range(filled, total, 2)))


def measure(rgw: Rgw, product: Tgstore, standin: Standin, size: int, shards: str) -> None:
    standin.start()
    try:
        product.start()
        chance = random.Random(size)
        for name, query in QUERIES.items():
            rig.row(f"LIST of {size} + {size}, {name}, {shards}", *compare(rgw, product, 2 * size, query, chance))
    finally:
        product.stop()
        standin.stop()


def compare(rgw: Rgw, product: Tgstore, keys: int, query: str, chance: random.Random) -> tuple[str, ...]:
    """Cells: our median, the origin's, the median of the ratios, how many entries a page had."""
    origin = rgw.origin
    ours = Asker(f"localhost:{product.port}", Key(ACCESS_KEY_ID, SECRET_ACCESS_KEY))
    theirs = Asker(origin.endpoint.partition("://")[2], Key(origin.access_key_id, origin.secret_access_key))
    our_s, their_s = [], []
    span = 1000 * KEYS_A_FOLDER if "delimiter" in query else 1000
    counts: tuple[int, int] = (0, 0)
    for number in range(PAGES + 3):
        after = key(chance.randrange(max(1, keys - 2 * span)))
        parameters = sorted([*query.split("&"), f"start-after={quote(after, safe='')}"])
        target = f"/{rig.BUCKET}?{'&'.join(parameters)}"
        headers = ours.prepare(target), theirs.prepare(target)
        (mine, my_page), (yours, your_page) = ours.timed(target, headers[0]), theirs.timed(target, headers[1])
        my_entries, your_entries = entries(my_page), entries(your_page)
        if my_entries[: len(your_entries)] != your_entries[: len(my_entries)]:
            raise SystemExit(f"the pages differ at {after}")
        counts = len(my_entries), len(your_entries)
        if number >= 3:  # the first ones warm up
            our_s.append(mine)
            their_s.append(yours)
    ratio = statistics.median(mine / yours for mine, yours in zip(our_s, their_s, strict=True))
    return (
        f"{1000 * statistics.median(our_s):.1f} ms, {counts[0]}",
        f"{1000 * statistics.median(their_s):.1f} ms, {counts[1]}",
        f"ratio {ratio:.2f}",
    )


def entries(page: bytes) -> list[bytes]:
    return re.findall(rb"<(?:Key|CommonPrefixes><Prefix)>([^<]*)<", page)
