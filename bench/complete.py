"""CompleteMultipartUpload over the number of parts, and reads of the description of what it made.

The parts are put into the index beforehand, as rows of documents whose bytes nobody will ask for: Complete only writes the index.
The yardstick is SQLite alone, writing one row a part into a table like that of the extents in one durable transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from addon.index.sql_index import SqlIndex, open_index
from addon.store.multipart import MultipartUpload, NewPart
from addon.store.records import Extent
from bench import rig
from bench.fill_index import MODIFIED_AT_S, document
from bench.listing import Asker
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.tgstore import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Bucket, Tgstore
from tests.service.signing import Key, sign

# BENCH_COMPLETE_PARTS=10,100 makes a quick try.
PARTS = tuple(int(count) for count in os.environ.get("BENCH_COMPLETE_PARTS", "100,1000,10000").split(","))
UPLOADS = 5
PART_BYTES = 5 << 20
BLOCKS_A_PART = 5
PUTS_AT_ONCE = 500


def complete(folder: Path) -> None:
    """See the module."""
    standin = Standin(folder)
    standin.start()
    try:
        with rig.origin_server(folder) as origin:
            product = Tgstore(folder / "product", standin, [Bucket(rig.BUCKET, origin)], options=["-q"])
            product.index_file.parent.mkdir()
            for parts in PARTS:
                asyncio.run(add_uploads(product.index_file, parts))
                product.start()
                try:
                    measure(product, parts, bare_sqlite_s(folder / f"{parts}.db", parts))
                finally:
                    product.stop()
    finally:
        standin.stop()


def upload_id(parts: int, number: int) -> str:
    return f"bench{parts:06d}x{number:04d}"


def md5_hex(upload: int, number: int) -> str:
    return hashlib.md5(f"{upload}/{number}".encode()).hexdigest()


async def add_uploads(path: Path, parts: int) -> None:
    index = await open_index(f"sqlite:///{path}")
    try:
        for number in range(UPLOADS):
            upload = MultipartUpload(
                upload_id=upload_id(parts, number),
                bucket=rig.BUCKET,
                key=f"large/{parts}/{number}",
                initiated_at_s=int(time.time()),
                headers={"content-type": "video/mp4"},
                anonymous_read=False,
            )
            await index.create_upload(upload)
            await add_parts(index, upload.upload_id, number, parts)
    finally:
        await index.close()


async def add_parts(index: SqlIndex, upload: str, seed: int, parts: int) -> None:
    blocks = b"".join(hashlib.sha256(b"%d" % block).digest() for block in range(BLOCKS_A_PART))
    for start in range(1, parts + 1, PUTS_AT_ONCE):
        numbers = range(start, min(start + PUTS_AT_ONCE, parts + 1))
        await asyncio.gather(
            *(
                index.put_part(
                    upload,
                    NewPart(
                        number=number,
                        size=PART_BYTES,
                        md5_hex=md5_hex(seed, number),
                        checksums={},
                        modified_at_s=MODIFIED_AT_S,
                        extents=[Extent(document((parts * UPLOADS + seed) * 100_000 + number), 0, PART_BYTES, blocks)],
                    ),
                )
                for number in numbers
            )
        )


def bare_sqlite_s(path: Path, rows: int) -> float:
    """Seconds for the rows alone: the median of as many transactions as there are uploads."""
    took = []
    with closing(sqlite3.connect(path, isolation_level=None)) as index:
        index.execute("PRAGMA journal_mode = WAL")
        index.execute("PRAGMA synchronous = FULL")
        index.execute(
            "CREATE TABLE extents (bucket TEXT, key BLOB, position INTEGER, document_id TEXT, offset INTEGER, length INTEGER, "
            "block_sha256s BLOB, PRIMARY KEY (bucket, key, position)) WITHOUT ROWID"
        )
        for number in range(UPLOADS):
            values = [
                ("bench", b"large/%d" % number, position, f"{position:032x}", 0, PART_BYTES, bytes(32 * BLOCKS_A_PART))
                for position in range(rows)
            ]
            started = time.perf_counter()
            index.execute("BEGIN IMMEDIATE")
            index.executemany("INSERT INTO extents VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            index.execute("COMMIT")
            took.append(time.perf_counter() - started)
    return statistics.median(took)


def measure(product: Tgstore, parts: int, bare_s: float) -> None:
    client = Asker(f"localhost:{product.port}", Key(ACCESS_KEY_ID, SECRET_ACCESS_KEY))
    took: dict[str, list[float]] = {"Complete": [], "ListParts": [], "HEAD": []}
    for number in range(UPLOADS):
        target = f"/{rig.BUCKET}/{quote(f'large/{parts}/{number}')}"
        query = f"uploadId={upload_id(parts, number)}"
        took["ListParts"].append(timed(client, "GET", f"{target}?{query}"))
        listed = "".join(
            f"<Part><PartNumber>{part}</PartNumber><ETag>&quot;{md5_hex(number, part)}&quot;</ETag></Part>"
            for part in range(1, parts + 1)
        )
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        took["Complete"].append(timed(client, "POST", f"{target}?{query}", body))
        took["HEAD"].append(timed(client, "HEAD", target))
    for name, seconds in took.items():
        yardstick = (f"{1000 * bare_s:.1f} ms SQLite alone",) if name == "Complete" else ()
        cells = (f"{1000 * statistics.median(seconds):.1f} ms", f"max {1000 * max(seconds):.1f} ms", *yardstick)
        rig.row(f"{name}, {parts} parts", *cells)


def timed(client: Asker, method: str, target: str, body: bytes = b"") -> float:
    """How many seconds until the answer was here. Ends everything where it is no success."""
    headers = dict(sign(client.by, method, target, client.host, payload=hashlib.sha256(body).hexdigest()).headers)
    started = time.perf_counter()
    client.connection.request(method, target, body=body or None, headers=headers)
    answer = client.connection.getresponse()
    content = answer.read()
    took_s = time.perf_counter() - started
    if answer.status != 200 or b"<Error>" in content:
        raise SystemExit(f"{method} {target}: {answer.status} {content[:500]!r}")
    return took_s
