"""The composition root: the one place that names the implementations of the ports and puts the whole together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from addon.checks import check_all
from addon.config import Bucket as ConfiguredBucket
from addon.config import Config
from addon.proxy.gateway import Gateway
from addon.proxy.loops import LoopGuard
from addon.proxy.passage import Passages
from addon.proxy.resolving import judge_resolved_addresses
from addon.proxy.switch import Switch
from addon.s3.address import origin_address
from addon.s3.bucket_answers import DEFAULT_REGION, PLAIN_BUCKET_QUESTIONS
from addon.s3.cors import CorsRule
from addon.s3.operations import Operation
from addon.service.absent import AbsentKeys
from addon.service.acls import AclHandlers
from addon.service.app import Handler, HeaderCheck, ObjectService
from addon.service.attributes import AttributeHandlers
from addon.service.authorize import Authorizer
from addon.service.browser_uploads import BrowserUploads
from addon.service.bucket_questions import BucketQuestions
from addon.service.buckets import Bucket, Directory
from addon.service.conditions import Conditions
from addon.service.copies import CopyHandlers
from addon.service.copy_sources import CopySources
from addon.service.cors import Cors
from addon.service.deletions import DeletionHandlers
from addon.service.forward import Forwarder
from addon.service.handover import Handover
from addon.service.held import HeldObjects
from addon.service.listings import Listings
from addon.service.missing import MissingAnswers
from addon.service.multipart import MultipartHandlers
from addon.service.objects import ObjectHandlers
from addon.service.origin_only import OriginOnly
from addon.service.origin_writes import OriginWrites
from addon.service.reads import ReadHandlers
from addon.service.server import LoopbackServer
from addon.service.tags import TagHandlers
from addon.service.upload_listing import UploadListing
from addon.service.upload_slots import UploadSlots
from addon.service.write_through import WriteThrough
from addon.storage import Storage, copy_limits, garbage_collection, open_storage, snapshots_of
from addon.store.copier import Copier
from addon.store.copy_keeper import CopyKeeper
from addon.store.erasing_task import ErasingTask, When
from addon.store.expiry import UploadExpiry
from addon.store.freshness import Freshness
from addon.store.object_store import ObjectStore
from addon.store.policies import BucketPolicies, Mode, Policy, Writes
from addon.store.ports import Origin
from addon.store.retirement import Retirements
from addon.store.snapshot_keeper import SnapshotKeeper

logger = logging.getLogger(__name__)

UPLOADS_MAX = 64


async def compose(config: Config) -> Gateway:
    """Build and start everything. Raises what stands in the way; then nothing is left running."""
    async with AsyncExitStack() as stack:
        policies = BucketPolicies(_policies(config))
        storage = await open_storage(config, stack, policies)
        index, origins, store = storage.index, storage.origins, storage.store
        retirements = Retirements(index, policies)
        await retirements.learn()
        stack.callback(judge_resolved_addresses(asyncio.get_running_loop(), storage.addresses_of))
        cut_off = await index.resolve_cut_off_origin_writes()
        if cut_off:
            logger.warning(
                "%d writes to the origin were cut off by the last stop; copies of their keys were forgotten", cut_off
            )
        copier = Copier(store, origins, copy_limits(config), at_rest=policies.at_rest)
        directory = Directory((_bucket(bucket) for bucket in config.buckets), policies)
        freshness = Freshness(
            store, index, origins, copier, _of_bucket(directory, lambda bucket: bucket.revalidate_after_s)
        )
        freshness.start()
        stack.push_async_callback(freshness.stop)
        loops = LoopGuard(directory, origins, storage.own_connections)
        shared = _shared(config, policies, directory, store, origins, copier, freshness)
        gateway = _gateway(shared, policies, loops, stack)
        retirements.start()
        stack.push_async_callback(retirements.stop)
        expiry = UploadExpiry(store, expire_after_s=config.multipart.expire_after_s)
        expiry.start()
        stack.push_async_callback(expiry.stop)
        if config.store.copies > 1:
            copies = _copy_keeper(config, storage)
            copies.start()
            stack.push_async_callback(copies.stop)
        erasing = _erasing(config, storage)
        erasing.start()
        stack.push_async_callback(erasing.stop)
        copier.start()
        stack.push_async_callback(copier.stop)
        storage.spool.start()
        saving = config.store
        keeper = SnapshotKeeper(
            snapshots_of(config, storage),
            interval_s=saving.snapshot_interval_s,
            changes_max=saving.snapshot_changes_max,
        )
        keeper.start()
        stack.push_async_callback(keeper.stop)
        startup_check = asyncio.create_task(_report_failures(config))
        stack.callback(startup_check.cancel)
        everything = stack.pop_all()
    gateway.on_stop(everything.aclose)
    return gateway


def _copy_keeper(config: Config, storage: Storage) -> CopyKeeper:
    return CopyKeeper(
        storage.index,
        storage.copying,
        storage.copying.lacks_copies,
        wanted=config.store.copies,
        burst_share_left=storage.documents.burst_share_left,
    )


def _erasing(config: Config, storage: Storage) -> ErasingTask:
    store = storage.store
    return ErasingTask(
        storage.index,
        garbage_collection(storage, store.forget_documents),
        When(config.store.erase),
        snapshot_keep_s=config.store.snapshot_keep_s,
        forget=store.forget_documents,
        now_s=store.now_s,
    )


async def read_status(config: Config, buckets: Sequence[str]) -> str:
    """Where these buckets stand, for people, as the command tells it; imported when somebody asks."""
    from addon.commands.status import status_text

    return await status_text(config, buckets)


@dataclass(frozen=True)
class _Shared:
    """What the handlers and the switch share."""

    config: Config
    directory: Directory
    store: ObjectStore
    origins: Mapping[str, Origin | None]
    copier: Copier
    freshness: Freshness
    absent: AbsentKeys
    origin_writes: OriginWrites
    through: WriteThrough


def _shared(
    config: Config,
    policies: BucketPolicies,
    directory: Directory,
    store: ObjectStore,
    origins: Mapping[str, Origin | None],
    copier: Copier,
    freshness: Freshness,
) -> _Shared:
    absent = AbsentKeys(_of_bucket(directory, lambda bucket: bucket.negative_ttl_s))
    store.index.on_change(absent.changed)
    origin_writes = OriginWrites(store, absent)
    through = WriteThrough(store, origins, policies, origin_writes)
    store.commit_through(through)
    return _Shared(config, directory, store, origins, copier, freshness, absent, origin_writes, through)


def _gateway(shared: _Shared, policies: BucketPolicies, loops: LoopGuard, stack: AsyncExitStack) -> Gateway:
    limits = shared.config.service
    service = _object_service(shared, stack)
    handover = Handover(service)
    server = LoopbackServer(handover, host=limits.host, port=limits.port)
    server.start()
    stack.push_async_callback(server.stop)
    return Gateway(
        switch=Switch(shared.directory, shared.store, shared.origin_writes),
        store=shared.store,
        service=service,
        service_address=server.address,
        handover=handover,
        passages=Passages(shared.store, shared.copier, shared.origin_writes),
        freshness=shared.freshness,
        absent=shared.absent,
        loops=loops,
        take_over=lambda found: _take_over(policies, found),
    )


def _object_service(shared: _Shared, stack: AsyncExitStack) -> ObjectService:
    store, origins, directory, writes = shared.store, shared.origins, shared.directory, shared.origin_writes
    bytes_max = shared.config.service.object_bytes_max
    slots, conditions, missing = UploadSlots(UPLOADS_MAX), Conditions(store, origins), MissingAnswers(origins)
    forwarder = Forwarder(store, origins, shared.copier, writes, directory, slots, body_bytes_max=bytes_max)
    origin_only = OriginOnly(store, origins, forwarder, conditions, writes, shared.through.turns)
    reads = ReadHandlers(store, forwarder, writes, missing, shared.freshness, shared.absent)
    objects = ObjectHandlers(store, forwarder, slots, conditions, origin_only, object_bytes_max=bytes_max)
    deletions = DeletionHandlers(store, forwarder, conditions)
    browser_uploads = BrowserUploads(store, slots, origin_only, _now, object_bytes_max=bytes_max)
    sources = CopySources(store, origins, writes, directory)
    copies = CopyHandlers(store, sources, conditions, slots, forwarder, origin_only, object_bytes_max=bytes_max)
    multipart = MultipartHandlers(store, forwarder, slots, conditions, origin_only, part_bytes_max=bytes_max)
    held, listings = HeldObjects(store, origins, writes, missing), Listings(store, origins)
    cors = Cors(origins)
    stack.push_async_callback(cors.stop)
    handlers: dict[Operation, Handler] = {
        Operation.GET_OBJECT: reads.get,
        Operation.HEAD_OBJECT: reads.get,
        Operation.PUT_OBJECT: objects.put,
        Operation.DELETE_OBJECT: objects.delete,
        Operation.COPY_OBJECT: copies.copy_object,
        Operation.UPLOAD_PART_COPY: copies.upload_part_copy,
        Operation.DELETE_OBJECTS: deletions.delete_objects,
        **_questions_and_properties(held, forwarder, directory),
        Operation.GET_OBJECT_ATTRIBUTES: AttributeHandlers(held, store.index, forwarder).get,
        **_steps_of_uploads(multipart),
        Operation.LIST_OBJECTS: listings.list_objects,
        Operation.LIST_OBJECTS_V2: listings.list_objects,
        Operation.LIST_MULTIPART_UPLOADS: UploadListing(store.index, origins).list_uploads,
        Operation.POST_OBJECT: browser_uploads.post,
        Operation.CORS_PREFLIGHT: cors.preflight,
    }
    header_checks: dict[Operation, HeaderCheck] = {
        Operation.PUT_OBJECT: objects.check_headers,
        Operation.POST_OBJECT: browser_uploads.check_headers,
        Operation.DELETE_OBJECTS: deletions.check_headers,
        Operation.UPLOAD_PART: multipart.check_part_headers,
        Operation.COMPLETE_MULTIPART_UPLOAD: multipart.check_complete_headers,
    }
    return ObjectService(directory, Authorizer(_now), handlers, header_checks, forwarder, cors)


def _steps_of_uploads(multipart: MultipartHandlers) -> Mapping[Operation, Handler]:
    return {
        Operation.CREATE_MULTIPART_UPLOAD: multipart.create,
        Operation.UPLOAD_PART: multipart.upload_part,
        Operation.COMPLETE_MULTIPART_UPLOAD: multipart.complete,
        Operation.ABORT_MULTIPART_UPLOAD: multipart.abort,
        Operation.LIST_PARTS: multipart.list_parts,
    }


def _questions_and_properties(
    held: HeldObjects, forwarder: Forwarder, directory: Directory
) -> Mapping[Operation, Handler]:
    """What is asked about buckets, and what is asked and said about objects besides their bytes."""
    tags, acls = TagHandlers(held, forwarder), AclHandlers(held, forwarder)
    questions = BucketQuestions(directory, forwarder)
    return {
        Operation.GET_OBJECT_TAGGING: tags.get,
        Operation.PUT_OBJECT_TAGGING: tags.put,
        Operation.DELETE_OBJECT_TAGGING: tags.delete,
        Operation.GET_OBJECT_ACL: acls.get,
        Operation.PUT_OBJECT_ACL: acls.put,
        Operation.HEAD_BUCKET: questions.head,
        Operation.GET_BUCKET_LOCATION: questions.location,
        Operation.LIST_BUCKETS: questions.buckets,
        **dict.fromkeys(PLAIN_BUCKET_QUESTIONS, questions.setting),
        Operation.GET_BUCKET_CORS: questions.cors,
    }


def _policies(config: Config) -> dict[str, Policy]:
    """How the settings want each bucket to be used."""
    return {bucket.name: Policy(Mode(bucket.mode), Writes(bucket.writes)) for bucket in config.buckets}


def _take_over(policies: BucketPolicies, found: Config) -> None:
    for name in policies.follow_settings(_policies(found)):
        policy = policies.of(name)
        logger.warning("%s is used anew: mode %s, writes to %s", name, policy.mode.value, policy.writes.value)


def _of_bucket(directory: Directory, setting: Callable[[Bucket], float]) -> Callable[[str], float]:
    """A setting by the bucket's name, as it is when it is asked for; 0 for a bucket that is not there."""

    def of(name: str) -> float:
        bucket = directory.buckets.get(name)
        return setting(bucket) if bucket is not None else 0.0

    return of


def _now() -> datetime:
    return datetime.now(UTC)


def _bucket(bucket: ConfiguredBucket) -> Bucket:
    origin = bucket.origin
    return Bucket(
        name=bucket.name,
        hosts=frozenset(bucket.hosts),
        path_hosts=frozenset(bucket.path_hosts),
        anonymous_read=bucket.anonymous_read,
        reject_unknown_keys=bucket.unknown_keys == "reject",
        credentials={
            credential.access_key_id.get_secret_value(): credential.secret_access_key.get_secret_value()
            for credential in bucket.credentials
        },
        origin=origin_address(origin.endpoint, origin.bucket, origin.addressing) if origin is not None else None,
        origin_bucket=origin.bucket if origin is not None else None,
        cors=None if bucket.cors is None else tuple(CorsRule(**dict(rule)) for rule in bucket.cors),
        region=origin.region if origin is not None else DEFAULT_REGION,
        revalidate_after_s=bucket.revalidate_after_s,
        negative_ttl_s=bucket.negative_ttl_s,
    )


async def _report_failures(config: Config) -> None:
    """`tgstore check` without its writes: what fails is said in the log, and the addon runs on, because it may heal."""
    for result in await check_all(config, telegram_writes=False):
        if not result.ok:
            logger.warning("check: %s: %s → %s", result.subject, result.detail, result.advice)
