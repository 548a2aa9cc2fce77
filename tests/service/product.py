"""The whole product without mitmproxy: real index, real sockets, the stand-in as Telegram and a real S3 server as origin.

Nothing of ours is replaced. Requests go to the object service's loopback port.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from addon.composition import compose
from addon.config import load_config
from addon.proxy.gateway import Gateway
from addon.s3.operations import Operation
from addon.service.upload_slots import UploadSlots
from addon.standin.server import StandIn
from addon.standin.switches import Switches
from addon.store.captions import open_caption
from addon.store.object_store import ObjectStore
from addon.store.ports import Index
from addon.store.records import CopyJob, CopyState, ObjectRecord, Tombstone
from addon.store.sealing import MasterKeys
from addon.telegram.documents import TelegramDocuments
from tests.empty_index import begin_index
from tests.service.origin_relay import OriginRelay, origin_relay
from tests.service.signing import UNSIGNED, Headers, Key, presign, sign
from tests.standin_fixture import BOT_A, BOT_B, CHANNEL, running_standin

HOST = "s3.test"
IMAGES, OTHER, OPEN, ALONE = "images", "other", "open", "alone"
USER = Key("AKTESTSERVICEUSER", "users-secret-key/of+the=tests")
OTHER_USER = Key("AKTESTOTHERUSER", "another-secret-key-of-the-tests")
ORIGIN_KEY = Key("AKTESTORIGINKEY", "origin-secret-key-of-the-tests")
LIMIT_S = 20.0
ENCRYPTION_KEY = bytes(range(100, 132))
# For `[encryption]`.
ENCRYPTION = f'key = "{ENCRYPTION_KEY.hex()}"'

# What must never be in a log, an answer or an exception.
SECRETS = (
    BOT_A.partition(":")[2],
    BOT_B.partition(":")[2],
    USER.secret,
    OTHER_USER.secret,
    ORIGIN_KEY.secret,
    ENCRYPTION_KEY.hex(),
)

# A fault of the stand-in: all bytes of a download are other ones.
WRONG_BYTES = {"kind": "corrupt", "offset": 0, "count": 1 << 30}

# No flood control and no throttle: the tests of telegram/ and one test in store/ have them exact.
RELAXED = Switches(rate_limits="off", equal_size_throttle=False)


@dataclass(frozen=True)
class Answer:
    """A response, its body as it was on the wire."""

    status_code: int
    headers: httpx.Headers
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    @property
    def code(self) -> str:
        """The Code of an S3 error, empty where it is none."""
        return self.text.partition("<Code>")[2].partition("</Code>")[0]


@dataclass
class Product:
    """The running whole."""

    folder: Path
    gateway: Gateway
    standin: StandIn
    origin: OriginRelay
    client: httpx.AsyncClient

    @property
    def address(self) -> tuple[str, int]:
        return self.gateway.service_address

    @property
    def store(self) -> ObjectStore:
        return self.gateway._store

    @property
    def telegram(self) -> TelegramDocuments:
        """The documents behind all that stands in front of them."""
        documents: Any = self.store._documents
        while not isinstance(documents, TelegramDocuments):
            documents = documents._documents
        return documents

    @property
    def upload_slots(self) -> UploadSlots:
        """What bounds the uploads under way."""
        return self.gateway._service._handlers[Operation.PUT_OBJECT].__self__._slots  # type: ignore[attr-defined]

    @property
    def index(self) -> Index:
        return self.store.index

    async def send(
        self,
        method: str,
        key: str,
        *,
        bucket: str = IMAGES,
        query: str = "",
        headers: Headers = (),
        body: bytes | AsyncIterator[bytes] = b"",
        payload: str | None = None,
        by: Key | None = USER,
        raw: bool = False,
    ) -> Answer:
        """One request, signed by `by` (None: anonymous). `key` is the raw path's end with `raw`, else it is encoded plainly."""
        target = target_of(bucket, key, query, raw=raw)
        sent = list(headers)
        if by is not None:
            if payload is None:
                payload = hashlib.sha256(body).hexdigest() if isinstance(body, bytes) else UNSIGNED
            sent = sign(by, method, target, HOST, headers, payload=payload).headers
        else:
            sent.append(("host", HOST))
        return await self.send_as_is(method, target, sent, body)

    async def send_presigned(
        self, method: str, key: str, *, bucket: str = IMAGES, query: str = "", headers: Headers = (), body: bytes = b""
    ) -> Answer:
        target = presign(USER, method, target_of(bucket, key, query), HOST, headers)
        return await self.send_as_is(method, target, [*headers, ("host", HOST)], body)

    async def send_as_is(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes | AsyncIterator[bytes] = b""
    ) -> Answer:
        """Exactly this target and these headers."""
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        given = {name.lower() for name, _ in pairs}
        framed = given & {b"content-length", b"transfer-encoding"}
        if method in ("PUT", "POST") and isinstance(body, bytes) and not framed:
            pairs.append((b"content-length", str(len(body)).encode()))
        request = httpx.Request(
            method,
            "http://{}:{}/".format(*self.address),
            headers=pairs,
            content=body or None,
            extensions={"target": target.encode("latin-1"), "timeout": httpx.Timeout(LIMIT_S).as_dict()},
        )
        if not (method in ("PUT", "POST") or body):
            request.headers.pop("content-length", None)
        response = await self.client.send(request, stream=True)
        try:
            content = b"".join([piece async for piece in response.aiter_raw()])
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, content)

    async def state(self, key: str, bucket: str = IMAGES) -> ObjectRecord | Tombstone | None:
        return await self.index.key_state(bucket, key)

    async def jobs(self, bucket: str = IMAGES) -> Sequence[CopyJob]:
        return await self.index.copy_jobs(bucket, states=list(CopyState), limit=100)

    def spooled(self) -> list[Path]:
        """The files in the spool folder."""
        return [path for path in (self.folder / "spool").rglob("*") if path.is_file()]

    def documents_in_telegram(self) -> dict[str, int]:
        """Size by document_id, of what stands in the channel."""
        found = {}
        for message in self.standin.control.state()["chats"][str(CHANNEL)]["messages"]:
            caption = open_caption(MasterKeys(ENCRYPTION_KEY), message["text"]) if "document" in message else None
            if caption is not None:
                found[caption.about["d"]] = message["document"]["size"]
        return found

    async def garbage(self) -> set[str]:
        return {document.document_id for document in await self.index.garbage(limit=1000)}

    def sends(self) -> int:
        """How many documents were sent."""
        return sum(entry["method"].lower() == "senddocument" for entry in self.standin.control.log())

    def downloads(self) -> int:
        return sum(entry["method"] == "download" for entry in self.standin.control.log())

    async def copied(self, key: str, bucket: str = IMAGES) -> ObjectRecord:
        """Wait until the key's copy is here."""
        found: list[ObjectRecord] = []

        async def is_here() -> bool:
            state = await self.state(key, bucket)
            if isinstance(state, ObjectRecord):
                found.append(state)
            return bool(found)

        await eventually(is_here)
        return found[0]


async def eventually(holds: Callable[[], Any], limit_s: float = LIMIT_S) -> None:
    """Wait until `holds()` (a function or coroutine function) is true; the test fails after `limit_s`."""
    async with asyncio.timeout(limit_s):
        while True:
            result = holds()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            await asyncio.sleep(0.005)


def target_of(bucket: str, key: str, query: str = "", *, raw: bool = False) -> str:
    spelt = key if raw else httpx.URL("http://h/").copy_with(path=f"/{key}").raw_path.decode().partition("?")[0][1:]
    return f"/{bucket}/{spelt}" + (f"?{query}" if query else "")


def config_text(
    api_url: str,
    origin_port: int,
    *,
    telegram: str = "",
    chats: str = str(CHANNEL),
    store: str = "",
    encryption: str = "",
    copies: str = "",
    service: str = "",
    images: str = "",
) -> str:
    """The settings; `images` are more of the bucket of that name; `encryption` its table's lines."""

    def bucket(name: str, key: Key, more: str = "", *, origin: str | None = None) -> str:
        text = f"""
[[buckets]]
name = "{name}"
hosts = ["{name}.test"]
path_hosts = ["{HOST}"]
credentials = [{{ access_key_id = "{key.access_key_id}", secret_access_key = "{key.secret}" }}]
{more}
"""
        if origin is not None:
            text += f"""
[buckets.origin]
endpoint = "http://127.0.0.1:{origin_port}"
bucket = "{origin}"
addressing = "path"
access_key_id = "{ORIGIN_KEY.access_key_id}"
secret_access_key = "{ORIGIN_KEY.secret}"
"""
        return text

    return f"""
[telegram]
api_url = "{api_url}"
bot_tokens = ["{BOT_A}", "{BOT_B}"]
chat_ids = [{chats}]
{telegram}
[store]
{store or "put_wait_s_max = 2.0"}
{"[encryption]" if encryption else ""}
{encryption}
[index]
url = "sqlite:///tgstore.db"
[cache]
dir = "cache"
bytes_max = "256MiB"
memory_bytes_max = "64MiB"
[service]
spool_dir = "spool"
{service}
[copies]
{
        copies
        or '''attempts_max = 3
retry_delay_s_min = 0.02
retry_delay_s_max = 0.2'''
    }
""" + "".join(
        [
            bucket(IMAGES, USER, images, origin="images-there"),
            bucket(OTHER, OTHER_USER, origin="other-there"),
            bucket(OPEN, USER, "anonymous_read = true", origin="open-there"),
            bucket(ALONE, USER),
        ]
    )


@contextlib.asynccontextmanager
async def running_product(
    folder: Path, origin_port: int, *, switches: Switches = RELAXED, **settings: str
) -> AsyncIterator[Product]:
    """The product in `folder`, in front of the S3 server at `origin_port`."""
    async with (
        running_standin(folder / "telegram", switches=switches) as standin,
        origin_relay(origin_port) as relay,
        product_again(folder, standin, relay, **settings) as product,
    ):
        yield product


@contextlib.asynccontextmanager
async def product_again(folder: Path, standin: StandIn, relay: OriginRelay, **settings: str) -> AsyncIterator[Product]:
    """The same over what an earlier one left behind."""
    path = folder / "config.toml"
    path.write_text(config_text(standin.url, relay.port, **settings))
    begin_index(folder / "tgstore.db")
    gateway = await compose(load_config(path, {}))
    startup_checks = [task for task in asyncio.all_tasks() if "_report_failures" in repr(task.get_coro())]
    await asyncio.wait(startup_checks, timeout=LIMIT_S)
    relay.requests.clear()
    relay.received.clear()
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=20)
    try:
        async with httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(limits=limits, trust_env=False), timeout=LIMIT_S
        ) as client:
            yield Product(folder, gateway, standin, relay, client)
    finally:
        await gateway.stop()
