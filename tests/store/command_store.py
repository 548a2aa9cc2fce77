"""The store as a command has it beside a running proxy: the same index and Telegram, nothing of the proxy's caches."""

from __future__ import annotations

from addon.storage import COMMAND_MEMORY_BYTES_MAX
from addon.store.cache import DiskCache, MemoryCache
from addon.store.object_store import ObjectStore
from addon.store.reader import Admission, Reader
from tests.service.product import Product


def command_store(product: Product) -> ObjectStore:
    store = product.store
    reader = Reader(
        store._documents,
        MemoryCache(COMMAND_MEMORY_BYTES_MAX),
        DiskCache(product.folder / "no-cache", 0),
        Admission.for_caches(memory_bytes_max=COMMAND_MEMORY_BYTES_MAX, disk_bytes_max=0),
    )
    return ObjectStore(
        index=store.index,
        documents=store._documents,
        packer=store.packer,
        reader=reader,
        origins=store._origins,
        spool_dir=product.folder / "command-spool",
        spool=store._spool,
    )
