"""The product as a user starts it: a config.toml in a folder, and ``mitmdump -s addon/tgstore.py`` there."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from .certificates import Certificates
from .origin import Origin
from .process import LabProcess, held_port, wait_for
from .standin import BOT_TOKENS, CHAT_IDS, Standin
from .target import Target, trust

PROJECT = Path(__file__).parents[3]
ADDON = PROJECT / "addon" / "tgstore.py"
READY_LIMIT_S = 60.0
COPY_LIMIT_S = 60.0

ACCESS_KEY_ID = "AKTGSTORELAB0CLIENT0"
SECRET_ACCESS_KEY = "client-secret/with+odd=chars0123456789ab"

# An expired presigned URL of an access key that the product holds: a ready product refuses it by itself with 403,
# whether the origin is up or not; one that is still starting answers 503.
EXPIRED_QUERY = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}%2F20200101%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20200101T000000Z&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=" + "0" * 64
)


@dataclass(frozen=True)
class Bucket:
    """One ``[[buckets]]`` entry. ``origin_keys=False`` leaves our own origin credentials out."""

    name: str
    origin: Origin
    hosts: tuple[str, ...] = ()
    path_hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    anonymous_read: bool = False
    unknown_keys: str = "origin"
    origin_bucket: str = ""
    origin_keys: bool = True
    cors: tuple[dict[str, Any], ...] = ()  # each a [[buckets.cors]] table
    access_key_id: str = ACCESS_KEY_ID
    secret_access_key: str = field(default=SECRET_ACCESS_KEY, repr=False)


def toml(value: Any) -> str:
    """A TOML value: a string, number, truth value, list, or inline table of them."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def config_text(buckets: Iterable[Bucket], api_url: str, *, ack: str = "telegram") -> str:
    lines = [
        "[telegram]",
        f"api_url = {toml(api_url)}",
        f"bot_tokens = {toml(BOT_TOKENS)}",
        f"chat_ids = {toml(CHAT_IDS)}",
        *(["[store]", f"ack = {toml(ack)}"] if ack != "telegram" else []),
        "[index]",
        'url = "sqlite:///data/tgstore.db"',
        "[cache]",
        'dir = "data/cache"',
        'bytes_max = "2GiB"',
        'memory_bytes_max = "64MiB"',
    ]
    for bucket in buckets:
        credential = {"access_key_id": bucket.access_key_id, "secret_access_key": bucket.secret_access_key}
        lines += [
            "[[buckets]]",
            f"name = {toml(bucket.name)}",
            f"hosts = {toml(bucket.hosts)}",
            f"path_hosts = {toml(bucket.path_hosts)}",
            f"anonymous_read = {toml(bucket.anonymous_read)}",
            f"unknown_keys = {toml(bucket.unknown_keys)}",
            f"credentials = [{toml(credential)}]",
            *([f"cors = {toml(bucket.cors)}"] if bucket.cors else []),
            "[buckets.origin]",
            f"endpoint = {toml(bucket.origin.endpoint)}",
            f"bucket = {toml(bucket.origin_bucket or bucket.name)}",
            f"region = {toml(bucket.origin.region)}",
            'addressing = "path"',
        ]
        if bucket.origin_keys:
            lines += [
                f"access_key_id = {toml(bucket.origin.access_key_id)}",
                f"secret_access_key = {toml(bucket.origin.secret_access_key)}",
            ]
    return "\n".join(lines) + "\n"


class Tgstore:
    """mitmdump with the addon. ``kill`` and ``start`` again keep port, settings and data.

    ``mode`` is "reverse" (in front of the first bucket's origin) or "regular". ``environment`` is the bin folder of
    the Python environment whose mitmdump is started; by default the one that runs the tests. ``config`` is where the
    settings are written (by default ``config.toml`` in its folder), ``ready_url`` where a regular proxy is
    probed where the origin's own address is not one of the bucket's names.
    """

    def __init__(
        self,
        folder: Path,
        standin: Standin,
        buckets: Sequence[Bucket],
        *,
        mode: str = "reverse",
        certificates: Certificates | None = None,
        environment: Path | None = None,
        options: Sequence[str] = (),
        env: dict[str, str] | None = None,
        config: Path | None = None,
        ready_url: str = "",
        ack: str = "telegram",
    ) -> None:
        self.folder = folder
        self.buckets = list(buckets)
        self.mode = mode
        self.certificates = certificates
        self.ready_url = ready_url
        self.port = held_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.config = config or folder / "config.toml"
        self.config.write_text(config_text(buckets, standin.url, ack=ack))
        upstream = f"reverse:{self.buckets[0].origin.endpoint}" if mode == "reverse" else mode
        argv = [
            (environment or Path(sys.executable).parent) / "mitmdump",
            "-s", ADDON, "--mode", upstream, "--listen-host", "127.0.0.1", "-p", str(self.port),
            "--set", f"confdir={folder / 'mitmproxy'}", *options,
        ]  # fmt: skip
        if certificates is not None:
            argv += ["--certs", f"*={certificates.server}"]
        self.process = LabProcess("mitmdump", argv, log=folder / "mitmdump.log", cwd=folder, env=env)

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.certificates else 'http'}://localhost:{self.port}"

    @property
    def authority(self) -> Path | None:
        return self.certificates.authority if self.certificates else None

    def target(self, number: int = 0, **changed: Any) -> Target:
        """How clients reach one of the buckets: path style, with the bucket's client keys."""
        chosen = self.buckets[number]
        told = Target(self.endpoint, chosen.name, chosen.access_key_id, chosen.secret_access_key, self.authority)
        return dataclasses.replace(told, **changed)

    @property
    def proxy_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def index_file(self) -> Path:
        return self.folder / "data" / "tgstore.db"

    def start(self) -> None:
        self.process.start()
        self.process.wait_until(self.answers, READY_LIMIT_S)

    def answers(self) -> bool:
        bucket = self.buckets[0]
        query = EXPIRED_QUERY.format(bucket.access_key_id)
        try:
            if self.mode == "reverse":
                answer = httpx.get(
                    f"{self.endpoint}/{bucket.name}/ready?{query}", verify=trust(self.authority), timeout=5.0
                )
            else:
                url = f"{self.ready_url or bucket.origin.endpoint}/{bucket.name}/ready?{query}"
                answer = httpx.get(url, proxy=self.proxy_url, timeout=5.0, verify=trust(self.authority))
        except httpx.HTTPError:
            return False
        return answer.status_code == 403

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def restart(self) -> None:
        self.kill()
        self.start()

    def query(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Read the index database past the product."""
        connection = sqlite3.connect(f"file:{self.index_file}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(statement, arguments).fetchall()
        finally:
            connection.close()

    def holds(self, key: str) -> bool:
        """Whether the index has this key as an object: its bytes are in Telegram then."""
        return bool(self.query(HOLDS_STATEMENT, key.encode())[0][0])

    def wait_until_copied(self, key: str) -> None:
        wait_for(lambda: self.holds(key), COPY_LIMIT_S, f"{key!r} is copied to Telegram")


HOLDS_STATEMENT = "SELECT count(*) FROM keys WHERE key = ? AND kind = 'object'"
