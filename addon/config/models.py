"""The sections of the settings file and their keys. `config.example.toml` explains each; here is what they become."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from addon.config.values import (
    ApiUrl,
    BotToken,
    BucketName,
    Bytes,
    ChatId,
    CorsHeaderPattern,
    CorsOrigin,
    Endpoint,
    FilePath,
    HeaderName,
    Hosts,
    IndexUrl,
    KeyId,
    LoopbackHost,
    OriginBucketName,
    PositiveSeconds,
    Region,
    SealingKey,
    SecondsOrNever,
    Secret,
    distinct,
    not_empty,
    sealing_key,
)


class Section(BaseModel):
    """What all sections share. Defaults are validated too: so relative paths among them become absolute."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, hide_input_in_errors=True, allow_inf_nan=False
    )


class Telegram(Section):
    """The bots and chats that keep the documents. `channel_messages_per_min_max` is Telegram's limit for a bot in a channel or
    group; `local` says that `api_url` is a Bot API server of one's own, started with `--local`. A document gets at most
    `document_bytes_max` bytes."""

    api_url: ApiUrl = "https://api.telegram.org"
    bot_tokens: Annotated[tuple[BotToken, ...], Field(strict=False), AfterValidator(not_empty)]
    chat_ids: Annotated[
        tuple[ChatId, ...],
        Field(strict=False),
        AfterValidator(not_empty),
        AfterValidator(distinct),
    ]
    local: bool = False
    document_bytes_max: Bytes = 20_000_000
    channel_messages_per_min_max: Annotated[int, Field(ge=2, le=60_000)] = 20


class Store(Section):
    """How objects are kept: when a write is acknowledged, in how many chats its bytes are, how small objects share documents
    (bytes), how long a write waits for its turn (seconds), what becomes of bytes that nothing needs any more, and how often the
    index is saved in Telegram (seconds, changes)."""

    ack: Literal["telegram", "spool"] = "telegram"
    copies: Annotated[int, Field(ge=1, le=2)] = 1
    put_wait_s_max: PositiveSeconds = 25.0
    pack_bytes_max: Bytes = 20_000_000
    spool_bytes_max: Bytes = 2 << 30
    erase: Literal["prompt", "lazy", "never"] = "lazy"
    snapshot_interval_s: SecondsOrNever = 3600.0
    snapshot_changes_max: Annotated[int, Field(ge=1, le=10**9)] = 10_000
    snapshot_keep_s: PositiveSeconds = 7 * 86400.0


class Encryption(Section):
    """What lies in Telegram is sealed: `key` seals what is new (None: nothing is), and it and `former_keys` open what is there.
    `lost_key_ids` names keys that nobody has any more, so that what is sealed under them is given up."""

    key: SealingKey | None = None
    former_keys: Annotated[tuple[SealingKey, ...], Field(strict=False, max_length=100)] = ()
    lost_key_ids: Annotated[tuple[KeyId, ...], Field(strict=False, max_length=100), AfterValidator(distinct)] = ()


class Index(Section):
    """The database of what is kept where; `url` with an absolute path."""

    url: IndexUrl = "sqlite:///data/tgstore.db"


class Cache(Section):
    """Blocks kept on disk and in memory; sizes in bytes."""

    dir: FilePath = Path("data/cache")
    bytes_max: Bytes = 2 << 30
    memory_bytes_max: Bytes = 256 << 20


class Service(Section):
    """The object service on its loopback port (0: any free one). Uploads fill documents in `spool_dir`."""

    host: LoopbackHost = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    object_bytes_max: Bytes = 5 << 30
    spool_dir: FilePath = Path("data/spool")


class Copies(Section):
    """Background copies: how many at once, and how failures are tried again (the pause doubles, in seconds)."""

    concurrency: Annotated[int, Field(ge=1, le=64)] = 2
    attempts_max: Annotated[int, Field(ge=1, le=1000)] = 8
    retry_delay_s_min: PositiveSeconds = 5.0
    retry_delay_s_max: PositiveSeconds = 3600.0


class Multipart(Section):
    """An upload that nobody completes is given up this many seconds after its last part, and its parts become garbage."""

    expire_after_s: Annotated[float, Field(gt=0, le=365 * 86400)] = 7 * 86400.0


class Credential(Section):
    """A key pair that clients sign with."""

    access_key_id: Secret
    secret_access_key: Secret


class Origin(Section):
    """The real bucket, and our own keys for it (both None where it is read without)."""

    endpoint: Endpoint
    bucket: OriginBucketName
    region: Region = "us-east-1"
    addressing: Literal["virtual", "path"] = "virtual"
    access_key_id: Secret | None = None
    secret_access_key: Secret | None = None


class Cors(Section):
    """A cross-origin rule, with S3's meaning; `max_age_s` seconds a browser may keep a preflight's answer (None: its default)."""

    id: Annotated[str, Field(max_length=255)] = ""
    allowed_origins: Annotated[tuple[CorsOrigin, ...], Field(strict=False), AfterValidator(not_empty)]
    allowed_methods: Annotated[
        tuple[Literal["GET", "PUT", "HEAD", "POST", "DELETE"], ...], Field(strict=False), AfterValidator(not_empty)
    ]
    allowed_headers: Annotated[tuple[CorsHeaderPattern, ...], Field(strict=False)] = ()
    expose_headers: Annotated[tuple[HeaderName, ...], Field(strict=False)] = ()
    max_age_s: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None


class Bucket(Section):
    """A bucket that we answer for. A copy that was last compared with the origin `revalidate_after_s` seconds ago is compared anew
    when it is read, and the origin's 404 counts for `negative_ttl_s` seconds; 0 turns either off."""

    name: BucketName
    hosts: Hosts = ()
    path_hosts: Hosts = ()
    anonymous_read: bool = False
    unknown_keys: Literal["origin", "reject"] = "origin"
    mode: Literal["store", "passthrough"] = "store"
    writes: Literal["telegram", "both", "origin"] = "telegram"
    revalidate_after_s: SecondsOrNever = 0.0
    negative_ttl_s: SecondsOrNever = 0.0
    credentials: Annotated[tuple[Credential, ...], Field(strict=False)] = ()
    origin: Origin | None = None
    cors: Annotated[tuple[Cors, ...], Field(strict=False, max_length=100)] | None = None


class Config(Section):
    """All settings; made by `load_config` only. Paths are absolute where the settings file's is."""

    telegram: Telegram
    store: Store
    encryption: Encryption | None = None
    index: Index
    cache: Cache
    service: Service
    copies: Copies
    multipart: Multipart
    buckets: Annotated[tuple[Bucket, ...], Field(strict=False), AfterValidator(not_empty)]

    @property
    def sealing_keys(self) -> tuple[bytes | None, tuple[bytes, ...]]:
        """The key that seals what is new, and the former ones."""
        settings = self.encryption or Encryption()
        key = sealing_key(settings.key) if settings.key is not None else None
        return key, tuple(sealing_key(former) for former in settings.former_keys)

    @property
    def lost_key_ids(self) -> frozenset[str]:
        """The ids of keys that nobody has any more."""
        return frozenset(self.encryption.lost_key_ids) if self.encryption is not None else frozenset()
