"""The way back while the proxy runs: settings that change under a real mitmdump, and an origin that is retired under it.

One product has three buckets behind the same relay, and each test one of them.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from addon.index.sql_index import SqlIndex, open_index
from addon.store.policies import Mode, Writes
from tests.end_to_end.lab.clients import s3_client
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.pictures import png
from tests.end_to_end.lab.process import wait_for
from tests.end_to_end.lab.relay import Relay
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.target import object_headers, request
from tests.end_to_end.lab.tgstore import Bucket, Tgstore

pytestmark = pytest.mark.end_to_end

LIMIT_S = 30.0
PASSING, RETIRED, BOTH = 0, 1, 2
PICTURE = png(40)


# In the stead of mitmproxy's console: runs what stands in the file `ask` of mitmdump's folder.
CONSOLE = """
import asyncio
from pathlib import Path

from mitmproxy import ctx

def running():
    global task
    task = asyncio.ensure_future(answer())

async def answer():
    while not Path("ask").exists():
        await asyncio.sleep(0.05)
    Path("answer.new").write_text(ctx.master.commands.execute(Path("ask").read_text()))
    Path("answer.new").rename("answer")
"""


class Product:
    """The product, the relay to its origin and the origin. Clients sign with keys that the origin knows too, as after a DNS
    repoint."""

    def __init__(self, tgstore: Tgstore, relay: Relay, standin: Standin, origin: Origin) -> None:
        self.tgstore, self.relay, self.standin, self.origin = tgstore, relay, standin, origin

    def name(self, number: int) -> str:
        return self.tgstore.buckets[number].name

    def use(self, number: int, *, mode: Mode = Mode.STORE, writes: Writes = Writes.TELEGRAM) -> None:
        """Change the settings file as an operator does, and wait until the running product has taken it over."""
        head, *buckets = self.tgstore.config.read_text().split("[[buckets]]\n")
        kept = [line for line in buckets[number].splitlines() if not line.startswith(("mode =", "writes ="))]
        buckets[number] = "\n".join([f'mode = "{mode.value}"', f'writes = "{writes.value}"', *kept, ""])
        said = f"{self.name(number)} is used anew: mode {mode.value}, writes to {writes.value}"
        before = self.tgstore.process.log_text().count(said)
        self.tgstore.config.write_text("[[buckets]]\n".join([head, *buckets]))
        wait_for(lambda: self.tgstore.process.log_text().count(said) > before, LIMIT_S, said)

    def there(self, number: int, key: str) -> tuple[bytes, dict[str, str]]:
        """The origin's object, asked without the product."""
        found = self.origin.s3().get_object(Bucket=self.name(number), Key=key)
        return found["Body"].read(), object_headers(found["ResponseMetadata"]["HTTPHeaders"])

    def tags(self, number: int, key: str) -> dict[str, str]:
        """The tags of the origin's object."""
        found = self.origin.s3().get_object_tagging(Bucket=self.name(number), Key=key)["TagSet"]
        return {tag["Key"]: tag["Value"] for tag in found}


@pytest.fixture(scope="module")
def product(
    launch: Callable[..., Any],
    standin: Standin,
    rgw: Origin,
    new_bucket: Callable[[Origin], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    relay = Relay(rgw)
    buckets = [
        Bucket(new_bucket(rgw), relay.origin, access_key_id=rgw.access_key_id, secret_access_key=rgw.secret_access_key)
        for _ in range(3)
    ]
    console = tmp_path_factory.mktemp("console") / "console.py"
    console.write_text(CONSOLE)
    yield Product(launch(Tgstore, standin, buckets, options=("-s", str(console))), relay, standin, rgw)
    relay.stop()


def test_passthrough_without_a_restart_and_back(product: Product) -> None:
    target = product.tgstore.target(PASSING)
    assert request(target, "PUT", "here", body=PICTURE).status_code == 200
    assert request(target, "PUT", "both", body=b"former").status_code == 200
    product.use(PASSING, mode=Mode.PASSTHROUGH)
    uploads, seen = len(product.standin.uploads()), len(product.relay.seen)
    put = request(target, "PUT", "both", body=PICTURE, headers={"content-type": "image/png"})
    assert put.status_code == 200, put.text
    assert product.there(PASSING, "both")[0] == PICTURE
    assert request(target, "GET", "here").status_code == 404, "the origin never had it"
    got = request(target, "GET", "both")
    assert (got.content, got.headers["content-type"]) == (PICTURE, "image/png")
    assert request(target, "GET", "both", signed=False).status_code == 403
    passed = [(one.method, one.headers["host"]) for one in product.relay.seen[seen:]]
    ours = f"localhost:{product.tgstore.port}"
    assert passed[:3] == [("PUT", ours), ("GET", ours), ("GET", ours)], "as it came"
    assert passed[3][1] != ours, "nothing is signed, so it goes by the origin's own name"
    wrong = replace(target, secret_access_key="wrong")
    assert request(wrong, "PUT", "wrong", body=b"x").status_code == 403
    s3_client(target).delete_objects(Bucket=target.bucket, Delete={"Objects": [{"Key": "never"}]})
    assert len(product.standin.uploads()) == uploads
    assert not product.tgstore.holds("both"), "superseded, so switching back is right"
    product.use(PASSING)
    assert request(target, "GET", "here").content == PICTURE
    assert request(target, "GET", "both").content == PICTURE
    product.tgstore.wait_until_copied("both")


def test_a_wrong_settings_file_is_said_and_changes_nothing(product: Product) -> None:
    right = product.tgstore.config.read_text()
    product.tgstore.config.write_text(right.replace("[telegram]", "[telegram]\nnowhere = 1"))
    said = "the changed settings are wrong, and nothing of them is taken over"
    try:
        wait_for(lambda: said in product.tgstore.process.log_text(), LIMIT_S, said)
        assert "telegram.nowhere" in product.tgstore.process.log_text()
        target = product.tgstore.target(PASSING)
        assert request(target, "PUT", "after", body=b"x").status_code == 200
        assert product.tgstore.holds("after")
    finally:
        product.tgstore.config.write_text(right)


def test_a_retired_origin_hears_nothing_any_more(product: Product) -> None:
    name, target = product.name(RETIRED), product.tgstore.target(RETIRED)
    for key in ("moved", "public"):
        product.origin.s3().put_object(Bucket=name, Key=key, Body=PICTURE)
        assert request(target, "GET", key).content == PICTURE
        product.tgstore.wait_until_copied(key)
    product.origin.s3().put_object(Bucket=name, Key="left", Body=b"never read")

    async def retire(index: SqlIndex) -> bool:
        moved = await index.objects_after(name, prefix="", after="", limit=10)
        await index.mark_verified(moved, now_s=1.0)
        assert await index.proxies_seen_since(0.0) == 1
        return await index.retire(name, now_s=1.0, leave_skipped=False)

    assert asyncio.run(_with_index(product, retire))
    wait_for(lambda: f"{name} is retired" in product.tgstore.process.log_text(), LIMIT_S, "the proxy has learnt of it")
    asked, made = len(product.relay.seen), product.relay.connections
    for method, key, signed, status in (
        ("GET", "moved", True, 200),
        ("GET", "left", True, 404),
        ("HEAD", "left", True, 404),
        ("GET", "moved", False, 403),
        ("GET", "left", False, 403),
        ("PUT", "new", True, 200),
        ("DELETE", "moved", True, 204),
        ("GET", "", False, 403),
    ):
        answer = request(target, method, key, signed=signed)
        assert (method, key, answer.status_code) == (method, key, status), answer.text
    stranger = replace(target, access_key_id="AKSTRANGER", secret_access_key="of-nobody-here")
    assert request(stranger, "GET", "left").status_code == 403
    assert request(stranger, "PUT", "left", body=b"x").status_code == 403
    listed = s3_client(target).list_objects_v2(Bucket=name)
    assert [entry["Key"] for entry in listed["Contents"]] == ["new", "public"]
    assert (len(product.relay.seen), product.relay.connections) == (asked, made)
    assert asyncio.run(_with_index(product, lambda index: index.unretire(name)))
    wait_for(lambda: f"{name} is not retired" in product.tgstore.process.log_text(), LIMIT_S, "it is asked again")
    assert request(target, "GET", "left").content == b"never read"


def test_writes_go_to_both_or_fail(product: Product) -> None:
    target = product.tgstore.target(BOTH)
    name, s3 = target.bucket, s3_client(target)
    product.use(BOTH, writes=Writes.BOTH)
    s3.put_object(
        Bucket=name,
        Key="k",
        Body=PICTURE,
        ContentType="image/png",
        CacheControl="max-age=60",
        ContentDisposition='attachment; filename="k.png"',
        Metadata={"owner": "anna"},
        Tagging="a=1&b=2",
    )
    large = PICTURE * (9_000_000 // len(PICTURE) + 1)
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_fileobj(_file(large), name, "large", Config=parts, ExtraArgs={"ContentType": "image/large"})
    for key, body in (("k", PICTURE), ("large", large)):
        here = s3.get_object(Bucket=name, Key=key)
        content, headers = product.there(BOTH, key)
        assert content == body == here["Body"].read()
        ours = object_headers(here["ResponseMetadata"]["HTTPHeaders"])
        for header in ("etag", "content-type", "cache-control", "content-disposition", "x-amz-meta-owner"):
            assert headers.get(header) == ours.get(header), (key, header)
    assert product.there(BOTH, "large")[1]["etag"].endswith('-2"')
    assert product.tags(BOTH, "k") == {"a": "1", "b": "2"}
    s3.put_object_tagging(Bucket=name, Key="k", Tagging={"TagSet": [{"Key": "c", "Value": "3"}]})
    s3.put_object_acl(Bucket=name, Key="k", ACL="public-read")
    assert product.tags(BOTH, "k") == {"c": "3"}
    anybody = request(replace(target, endpoint=product.origin.endpoint), "GET", "k", signed=False)
    assert anybody.content == PICTURE
    product.relay.down = True
    assert request(target, "PUT", "k", body=b"later").status_code == 503
    assert request(target, "DELETE", "k").status_code == 503
    assert request(target, "GET", "k").content == PICTURE
    product.relay.down = False
    assert product.there(BOTH, "k")[0] == PICTURE
    assert request(target, "GET", "k").content == PICTURE
    s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "k"}]})
    assert [entry["Key"] for entry in product.origin.s3().list_objects_v2(Bucket=name)["Contents"]] == ["large"]
    product.use(BOTH)
    asked = len(product.relay.asked("PUT", "k"))
    assert request(target, "PUT", "k", body=b"here alone").status_code == 200
    assert len(product.relay.asked("PUT", "k")) == asked


def test_writes_go_to_the_origin_alone(product: Product) -> None:
    """Ceph RGW verifies every signature and checksum of what is forwarded signed anew."""
    target = product.tgstore.target(PASSING)
    name, s3 = target.bucket, s3_client(target)
    for key in ("tagged", "source", "gone"):
        s3.put_object(Bucket=name, Key=f"alone/{key}", Body=PICTURE, ContentType="image/png")
    uploads = len(product.standin.uploads())
    product.use(PASSING, writes=Writes.ORIGIN)
    s3.put_object(
        Bucket=name, Key="alone/new", Body=PICTURE, ContentType="image/png", Metadata={"a": "b"}, Tagging="a=1"
    )
    s3.put_object_tagging(Bucket=name, Key="alone/tagged", Tagging={"TagSet": [{"Key": "c", "Value": "3"}]})
    s3.copy_object(Bucket=name, Key="alone/copy", CopySource={"Bucket": name, "Key": "alone/source"})
    s3.copy_object(Bucket=name, Key="alone/copy-there", CopySource={"Bucket": name, "Key": "alone/new"})
    large = PICTURE * (6_000_000 // len(PICTURE) + 1)
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_fileobj(_file(large), name, "alone/large", Config=parts)
    s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "alone/gone"}]})
    assert len(product.standin.uploads()) == uploads
    for key, body in (
        ("new", PICTURE),
        ("tagged", PICTURE),
        ("copy", PICTURE),
        ("copy-there", PICTURE),
        ("large", large),
    ):
        content, headers = product.there(PASSING, f"alone/{key}")
        here = s3.get_object(Bucket=name, Key=f"alone/{key}")
        assert content == body == here["Body"].read(), key
        assert headers["etag"] == here["ETag"]
    assert product.there(PASSING, "alone/copy")[1]["content-type"] == "image/png"
    assert product.there(PASSING, "alone/new")[1]["x-amz-meta-a"] == "b"
    assert (product.tags(PASSING, "alone/new"), product.tags(PASSING, "alone/tagged")) == ({"a": "1"}, {"c": "3"})
    assert request(target, "GET", "alone/gone").status_code == 404
    product.use(PASSING)


def test_mitmproxys_own_command_says_where_a_bucket_stands(product: Product) -> None:
    folder = product.tgstore.folder
    request(product.tgstore.target(PASSING), "PUT", "one-more", body=b"x")
    (folder / "ask.new").write_text(f"tgstore.status {product.name(PASSING)}")
    (folder / "ask.new").rename(folder / "ask")
    wait_for((folder / "answer").exists, LIMIT_S, "the command is answered")
    lines = (folder / "answer").read_text().splitlines()
    assert lines[0] == f"bucket {product.name(PASSING)}"
    assert any(line.startswith("  written here") and not line.endswith(" 0 (0 B)") for line in lines)


async def _with_index(product: Product, work: Callable[[SqlIndex], Any]) -> Any:
    index = await open_index(f"sqlite:///{product.tgstore.index_file}")
    try:
        return await work(index)
    finally:
        await index.close()


def _file(content: bytes) -> io.BytesIO:
    return io.BytesIO(content)
