"""Fills the index of a Ceph bucket directly: entries of objects without their bytes, as many as one likes, in seconds.

    /usr/bin/python3 bench/fill_bucket_index.py CEPH_CONF TEMPLATE_KEY FIRST COUNT

A program of its own for the system's Python, because the binding to librados (Debian package python3-rados) is there only. The
bucket holds the object TEMPLATE_KEY; its entry is the form of all others, so every key is as long as it. Keys are those
of `bench.listing_keys.key`, spread over the bucket's shards in turn.
"""

from __future__ import annotations

import sys
from pathlib import Path

import rados  # type: ignore[import-not-found]

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.listing_keys import key

INDEX_POOL = "default.rgw.buckets.index"
ENTRIES_A_WRITE = 5000


def main(config: str, template: str, first: int, count: int) -> None:
    cluster = rados.Rados(conffile=config, name="client.rgw", conf={"admin_socket": ""})
    cluster.connect()
    try:
        pool = cluster.open_ioctx(INDEX_POOL)
        found, form = find_entry(pool, template)
        bucket = found.rpartition(".")[0]
        shards = sorted(one.key for one in pool.list_objects() if one.key.startswith(f"{bucket}."))
        for number, shard in enumerate(shards):
            numbers = range(first + number, first + count, len(shards))
            for start in range(0, len(numbers), ENTRIES_A_WRITE):
                names = [key(one) for one in numbers[start : start + ENTRIES_A_WRITE]]
                values = tuple(form.replace(template.encode(), name.encode()) for name in names)
                with rados.WriteOpCtx() as operation:
                    pool.set_omap(operation, tuple(names), values)
                    pool.operate_write_op(operation, shard)
    finally:
        cluster.shutdown()


def find_entry(pool: rados.Ioctx, template: str) -> tuple[str, bytes]:
    """The shard that holds the template's entry, and the entry."""
    for found in pool.list_objects():
        with rados.ReadOpCtx() as operation:
            entries, _ = pool.get_omap_vals_by_keys(operation, (template,))
            pool.operate_read_op(operation, found.key)
            for _, value in entries:
                return found.key, value
    raise SystemExit(f"no bucket index has an entry of {template}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
