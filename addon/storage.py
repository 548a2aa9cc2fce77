"""All that keeps objects, put together from the settings: index, Telegram, origins, object store.

The proxy has it, and so do the commands that work on whole buckets, beside a running proxy or without one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addon.checks import make_origin
from addon.config import Config
from addon.index.sql_index import SqlIndex, open_index
from addon.origin.client import S3Origin
from addon.store.cache import DiskCache, MemoryCache
from addon.store.captions import open_caption
from addon.store.copier import CopyLimits
from addon.store.eraser import Eraser
from addon.store.garbage import GarbageCollection
from addon.store.key_check import check_keys
from addon.store.known_files import KnownFiles
from addon.store.message_eraser import MessageEraser
from addon.store.object_store import ObjectStore
from addon.store.origin_addresses import OriginAddresses
from addon.store.own_connections import OwnConnections
from addon.store.packer import Packer, PackLimits
from addon.store.policies import BucketPolicies, LiveOrigins
from addon.store.ports import Documents, IndexUnavailable
from addon.store.reader import Admission, Reader
from addon.store.retelling import Retelling
from addon.store.rewriter import Rewriter
from addon.store.sealed_documents import SealedDocuments, SealedKnownFiles
from addon.store.sealing import MasterKeys
from addon.store.snapshots import Pins, Snapshots
from addon.store.spool import Spool
from addon.store.spool_folder import SpoolFolder
from addon.store.spooled_documents import SpooledDocuments
from addon.store.work_folder import work_folder
from addon.telegram.client import Timeouts
from addon.telegram.documents import TelegramDocuments
from addon.telegram.limits import group_rate
from addon.telegram.second_copies import TelegramCopies

logger = logging.getLogger(__name__)

# A command reads each block once; what it keeps at hand is for the blocks of one object.
COMMAND_MEMORY_BYTES_MAX = 64 << 20
# A pack of a command is settled by then, or its process has ended.
PACK_FORGOTTEN_AFTER_S = 86_400.0
# How the ids of processes begin, under which packs are numbered.
_PROXY, _COMMAND = "proxy-", "command-"
# A local Bot API server answers getFile when it has fetched all of the file from Telegram, up to 2000 MB.
LOCAL_GET_FILE_S = 600.0


@dataclass(frozen=True)
class Storage:
    """What is open: the index, each bucket's origin (None where it has none), the documents in Telegram and the files that were
    there before (sealed, where there is a key), the way to further copies of documents, what is pinned in the chats, the keys that
    open what is sealed, what sends documents that wait on the local disk, the store on top of them, and the connections that the
    origins' clients have."""

    index: SqlIndex
    origins: Mapping[str, S3Origin | None]
    documents: Documents
    known_files: KnownFiles
    copying: TelegramCopies
    pins: Pins
    keys: MasterKeys
    spool: Spool
    store: ObjectStore
    own_connections: OwnConnections

    def addresses_of(self, host: str) -> OriginAddresses | None:
        """To where a host may lead that is an origin's; None for any other."""
        return next(
            (one.addresses for one in self.origins.values() if one is not None and one.address.host == host), None
        )


async def open_storage(config: Config, stack: AsyncExitStack, policies: BucketPolicies) -> Storage:
    """Open everything for the proxy; it closes with `stack`. Raises what stands in the way. Retired buckets have no origin. What
    waits in the spool folder is not sent before that is started."""
    disk = DiskCache(config.cache.dir, config.cache.bytes_max)
    await asyncio.to_thread(disk.open)
    admission = Admission.for_caches(
        memory_bytes_max=config.cache.memory_bytes_max, disk_bytes_max=config.cache.bytes_max
    )
    memory = MemoryCache(config.cache.memory_bytes_max)
    storage = await _open(config, stack, memory, disk, admission, config.service.spool_dir, policies, _PROXY)
    # Of an earlier proxy on this index, which has ended; of commands that were killed, as they tell nobody when they end.
    now_s = storage.store.now_s()
    await storage.index.forget_packs(processes=_PROXY, began_before_s=now_s)
    await storage.index.forget_packs(processes=_COMMAND, began_before_s=now_s - PACK_FORGOTTEN_AFTER_S)
    _start_packer(storage, stack)
    await storage.spool.recover(clears=True)
    stack.push_async_callback(storage.spool.stop)
    return storage


@contextlib.asynccontextmanager
async def command_storage(config: Config) -> AsyncIterator[Storage]:
    """Open everything for a command. Cache and spool folder are the running proxy's alone, so it has a spool folder of its own, and
    no cache on disk; it reads what waits in the proxy's."""
    async with AsyncExitStack() as stack:
        spool_dir = stack.enter_context(work_folder(config.service.spool_dir, "command-"))
        admission = Admission.for_caches(memory_bytes_max=COMMAND_MEMORY_BYTES_MAX, disk_bytes_max=0)
        disk = DiskCache(spool_dir / "cache", 0)
        memory = MemoryCache(COMMAND_MEMORY_BYTES_MAX)
        storage = await _open(config, stack, memory, disk, admission, spool_dir, BucketPolicies({}), _COMMAND)
        _start_packer(storage, stack)
        yield storage


async def _open(
    config: Config,
    stack: AsyncExitStack,
    memory: MemoryCache,
    disk: DiskCache,
    admission: Admission,
    spool_dir: Path,
    policies: BucketPolicies,
    process: str,
) -> Storage:
    index = await open_index(config.index.url)
    stack.push_async_callback(index.close)
    keys = MasterKeys(*config.sealing_keys)
    await check_keys(index, keys.key_ids | config.lost_key_ids)
    telegram = _documents(config, index)
    stack.push_async_callback(telegram.close)
    documents = SealedDocuments(telegram, keys, spool_dir)
    known_files = SealedKnownFiles(telegram.known_files, keys)
    own = OwnConnections()
    configured = {bucket.name: make_origin(bucket, own) for bucket in config.buckets}
    for origin in configured.values():
        if origin is not None:
            stack.push_async_callback(origin.close)
    origins = LiveOrigins(configured, policies)
    folder = spool_folder(config)
    spooled = SpooledDocuments(documents, folder)
    reader = Reader(spooled, memory, disk, admission)
    stack.push_async_callback(reader.close)
    limits = PackLimits(config.store.pack_bytes_max, config.store.put_wait_s_max, tells_when_idle=process == _PROXY)
    packer = Packer(documents, index, limits, spool_dir=spool_dir, process_id=f"{process}{uuid.uuid4().hex}")
    store = ObjectStore(
        index=index,
        documents=spooled,
        packer=packer,
        reader=reader,
        origins=origins,
        spool_dir=spool_dir,
        spool=folder,
        keeps_writes_here=config.store.ack == "spool",
    )
    await asyncio.to_thread(store.open)
    spool = Spool(folder, index, documents, packer, randbelow=secrets.randbelow)
    return Storage(index, origins, documents, known_files, telegram.copies, telegram.pins, keys, spool, store, own)


def spool_folder(config: Config) -> SpoolFolder:
    """Where documents wait that were acknowledged by the local disk: the running proxy fills it."""
    return SpoolFolder(config.service.spool_dir / "kept", config.store.spool_bytes_max)


def _start_packer(storage: Storage, stack: AsyncExitStack) -> None:
    storage.store.packer.start()
    stack.push_async_callback(storage.store.packer.stop)


def telegram_of(config: Config, **more: Any) -> TelegramDocuments:
    """The documents of the settings' bots and chats; `more` as `TelegramDocuments` takes it."""
    return TelegramDocuments(
        config.telegram.api_url,
        [token.get_secret_value() for token in config.telegram.bot_tokens],
        config.telegram.chat_ids,
        send_wait_s_max=config.store.put_wait_s_max,
        group_rate=group_rate(config.telegram.channel_messages_per_min_max),
        document_bytes_max=config.telegram.document_bytes_max,
        timeouts=Timeouts(get_file_s=LOCAL_GET_FILE_S) if config.telegram.local else None,
        local=config.telegram.local,
        **more,
    )


def _documents(config: Config, index: SqlIndex) -> TelegramDocuments:
    documents = telegram_of(config, ledger=index, copies=config.store.copies)
    documents.look_up_ways(index.ways_to)
    documents.start()
    remembering: set[asyncio.Task[None]] = set()

    async def remember_soon(document_id: str, bot_id: int, file_id: str) -> None:
        try:
            await index.update_file_id(document_id, bot_id=bot_id, file_id=file_id)
        except IndexUnavailable as failure:
            logger.warning("a file_id that was won again could not be remembered: %s", failure)

    def remember(document_id: str, bot_id: int, file_id: str) -> None:
        task = asyncio.create_task(remember_soon(document_id, bot_id, file_id))
        remembering.add(task)
        task.add_done_callback(remembering.discard)

    documents.on_new_file_id(remember)
    return documents


def garbage_collection(storage: Storage, forget: Callable[[Collection[str]], Awaitable[None]]) -> GarbageCollection:
    """What clears away; `forget` drops documents' blocks from caches."""
    index, documents, store = storage.index, storage.documents, storage.store
    retelling = Retelling(index, documents, store.packer)
    return GarbageCollection(
        Rewriter(index, documents, store.packer, spool_dir=store.spool_dir),
        retelling,
        Eraser(index, MessageEraser(documents), retelling=retelling, forget=forget, now_s=store.now_s),
    )


def snapshots_of(config: Config, storage: Storage) -> Snapshots:
    """What saves this index in Telegram."""
    return Snapshots(
        storage.index,
        storage.documents,
        storage.pins,
        read_caption=functools.partial(open_caption, storage.keys),
        work_dir=config.service.spool_dir,
        keep_s=config.store.snapshot_keep_s,
    )


def copy_limits(config: Config) -> CopyLimits:
    """How background copies are made."""
    return CopyLimits(
        concurrency=config.copies.concurrency,
        object_bytes_max=config.service.object_bytes_max,
        attempts_max=config.copies.attempts_max,
        retry_delay_s_min=config.copies.retry_delay_s_min,
        retry_delay_s_max=config.copies.retry_delay_s_max,
    )
