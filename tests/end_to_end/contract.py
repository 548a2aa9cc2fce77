"""What the tests of the migration contract share: an RGW bucket, a relay in front of it, and the product in front of that.

Requests go out through ``http.client`` with the target exactly as a test spells it.
"""

from __future__ import annotations

import hashlib
import http.client
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.process import wait_for
from tests.end_to_end.lab.relay import Relay
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.target import object_headers
from tests.end_to_end.lab.tgstore import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Bucket, Tgstore
from tests.service.signing import Key, presign, sign

LIMIT_S = 60.0
# The key pair that the product holds.
OURS = Key(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
# The first of all keys: the product's check at its start reads that one, and so none that a test has scripted.
FIRST_KEY = "!first"
# A quick second and last attempt, so that a test sees a copy given up.
COPIES = "[copies]\nattempts_max = 2\nretry_delay_s_min = 0.05\nretry_delay_s_max = 0.5\n"

Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """A response as it was on the wire; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The Code of an S3 error, empty where it is none."""
        return self.body.decode("utf-8", "replace").partition("<Code>")[2].partition("</Code>")[0]

    @property
    def told(self) -> tuple[int, dict[str, str], bytes]:
        """What must be the same before and after an object moved."""
        return self.status, object_headers(self.headers), self.body


@dataclass
class Site:
    """One bucket and all that stands before and behind it."""

    tgstore: Tgstore
    standin: Standin
    relay: Relay
    rgw: Origin

    @property
    def bucket(self) -> str:
        return self.tgstore.buckets[0].name

    @property
    def theirs(self) -> Key:
        """A key pair that only the origin knows."""
        return Key(self.rgw.access_key_id, self.rgw.secret_access_key)

    def send(
        self,
        method: str,
        key: str,
        *,
        query: str = "",
        headers: Headers = (),
        body: bytes = b"",
        by: Key | None = OURS,
    ) -> Answer:
        """One request for the key, percent-encoded plainly, signed by ``by`` (our client; None: anonymous)."""
        return self.send_raw(method, quote(key), query=query, headers=headers, body=body, by=by)

    def send_raw(
        self,
        method: str,
        spelling: str,
        *,
        query: str = "",
        headers: Headers = (),
        body: bytes = b"",
        by: Key | None = OURS,
    ) -> Answer:
        """The same with the key spelt as it is to stand in the request line."""
        target = f"/{self.bucket}/{spelling}" + (f"?{query}" if query else "")
        return exchange(self.tgstore.endpoint, method, target, headers, body, by)

    def presigned(self, method: str, key: str, *, headers: Headers = (), **how: Any) -> str:
        """The target of a presigned request by our client."""
        host = self.tgstore.endpoint.partition("://")[2]
        return presign(OURS, method, f"/{self.bucket}/{quote(key)}", host, headers, **how)

    def send_target(self, method: str, target: str, *, headers: Headers = (), body: bytes = b"") -> Answer:
        """A target that bears its own signature, or none."""
        return exchange(self.tgstore.endpoint, method, target, headers, body, None)

    def at_origin(self, method: str, key: str, *, query: str = "", headers: Headers = (), body: bytes = b"") -> Answer:
        """The same request directly at the origin, by the origin's user."""
        target = f"/{self.bucket}/{quote(key)}" + (f"?{query}" if query else "")
        return exchange(self.rgw.endpoint, method, target, headers, body, self.theirs)

    def old(self, key: str, body: bytes = b"as it lay there", **more: Any) -> bytes:
        """Put an object into the origin, past the product."""
        self.rgw.s3().put_object(Bucket=self.bucket, Key=key, Body=body, **more)
        return body

    def moved(self, key: str, body: bytes = b"as it lay there", **more: Any) -> bytes:
        """The same, and read it through the product until its copy is there."""
        self.old(key, body, **more)
        assert self.send("GET", key).status == 200
        self.tgstore.wait_until_copied(key)
        return body

    def garbage(self) -> int:
        """How many documents wait to be cleared away."""
        return int(self.tgstore.query("SELECT count(*) FROM documents WHERE garbage_since_s IS NOT NULL")[0][0])

    def jobs(self, key: str) -> list[tuple[Any, ...]]:
        """State, attempts and reason of the key's copy job."""
        return self.tgstore.query("SELECT state, attempts, reason FROM copy_jobs WHERE key = ?", key.encode())

    def settled(self, key: str) -> None:
        """Wait until no copy of the key is waiting or running."""
        wait_for(
            lambda: all(state not in {"waiting", "running"} for state, *_ in self.jobs(key)),
            LIMIT_S,
            f"the copy of {key!r} is over",
        )


def start_site(launch: Callable[..., Any], rgw: Origin, bucket: str, *, options: Sequence[str] = ()) -> Site:
    """Start everything. ``options`` go to mitmdump; stop the relay afterwards."""
    rgw.s3().put_object(Bucket=bucket, Key=FIRST_KEY, Body=b"")
    relay = Relay(rgw)
    standin = launch(Standin, "--rate-limits", "off")
    tgstore = launch(Tgstore, standin, [Bucket(bucket, relay.origin)], started=False, options=options)
    text = tgstore.config.read_text()
    tgstore.config.write_text(text.replace("[telegram]", "[store]\nput_wait_s_max = 2.0\n[telegram]", 1) + COPIES)
    tgstore.start()
    return Site(tgstore, standin, relay, rgw)


def exchange(endpoint: str, method: str, target: str, headers: Headers, body: bytes, by: Key | None) -> Answer:
    """One request with this target, byte for byte."""
    host = endpoint.partition("://")[2]
    sent = [*headers, ("host", host)]
    if by is not None:
        sent = sign(by, method, target, host, list(headers), payload=hashlib.sha256(body).hexdigest()).headers
    connection = http.client.HTTPConnection(host, timeout=LIMIT_S)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in sent:
            connection.putheader(name, value)
        if method in {"PUT", "POST"}:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        content = answer.read()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)
    finally:
        connection.close()


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Bytes that no compression and no offset makes look alike."""
    return random.Random(f"{size}/{seed}").randbytes(size)
