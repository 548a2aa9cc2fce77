"""Every way to start the product: modes, protocols, several buckets and names, where the settings come from."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from tests.end_to_end.lab.certificates import Certificates
from tests.end_to_end.lab.clients import Curl, s3_client
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.pictures import png
from tests.end_to_end.lab.standin import BOT_TOKENS, Standin
from tests.end_to_end.lab.target import Refused, Target, request
from tests.end_to_end.lab.tgstore import SECRET_ACCESS_KEY, Bucket, Tgstore

pytestmark = [pytest.mark.end_to_end, pytest.mark.both_generations]

PICTURE = png(9)


def story(target: Target, s3: Any, origin: Origin) -> None:
    """Upload, read, overwrite, delete, and one old object: what has to work in every mode."""
    s3.put_object(Bucket=target.bucket, Key="new.png", Body=PICTURE, ContentType="image/png")
    assert s3.get_object(Bucket=target.bucket, Key="new.png")["Body"].read() == PICTURE
    s3.put_object(Bucket=target.bucket, Key="new.png", Body=b"other", ContentType="text/plain")
    answer = s3.get_object(Bucket=target.bucket, Key="new.png")
    assert (answer["Body"].read(), answer["ContentType"]) == (b"other", "text/plain")
    s3.delete_object(Bucket=target.bucket, Key="new.png")
    assert origin.s3().list_objects_v2(Bucket=target.bucket).get("KeyCount") == 0
    origin.s3().put_object(Bucket=target.bucket, Key="old.png", Body=PICTURE)
    assert s3.get_object(Bucket=target.bucket, Key="old.png")["Body"].read() == PICTURE


# --- Modes and protocols


def test_reverse_mode(
    launch: Callable[..., Any], standin: Standin, rgw: Origin, new_bucket: Callable[[Origin], str]
) -> None:
    tgstore = launch(Tgstore, standin, [Bucket(new_bucket(rgw), rgw)])
    story(tgstore.target(), s3_client(tgstore.target()), rgw)


def test_regular_proxy_mode(
    launch: Callable[..., Any], standin: Standin, rgw: Origin, new_bucket: Callable[[Origin], str]
) -> None:
    """The client keeps the bucket's own address, and only gets a proxy setting."""
    tgstore = launch(Tgstore, standin, [Bucket(new_bucket(rgw), rgw)], mode="regular")
    target = tgstore.target(endpoint=rgw.endpoint)
    story(target, s3_client(target, proxy=tgstore.proxy_url), rgw)
    theirs = tgstore.target(
        endpoint=rgw.endpoint, access_key_id=rgw.access_key_id, secret_access_key=rgw.secret_access_key
    )
    assert request(theirs, "PUT", "theirs", body=b"past us", proxy=tgstore.proxy_url).status_code == 200
    assert rgw.s3().get_object(Bucket=target.bucket, Key="theirs")["Body"].read() == b"past us"


def test_regular_proxy_mode_with_tls(
    launch: Callable[..., Any],
    standin: Standin,
    rgw: Origin,
    certificates: Certificates,
    new_bucket: Callable[[Origin], str],
) -> None:
    """CONNECT to a name that does not even resolve here: nothing may depend on reaching it first."""
    bucket = Bucket(new_bucket(rgw), rgw, path_hosts=("s3.lab.test",))
    tgstore = launch(
        Tgstore, standin, [bucket], mode="regular", certificates=certificates, ready_url="https://s3.lab.test"
    )
    target = tgstore.target(endpoint="https://s3.lab.test")
    story(target, s3_client(target, proxy=tgstore.proxy_url), rgw)


def test_regular_proxy_leaves_other_hosts_alone(
    launch: Callable[..., Any],
    standin: Standin,
    rgw: Origin,
    moto: Origin,
    new_bucket: Callable[[Origin], str],
) -> None:
    bucket = Bucket(new_bucket(rgw), rgw, path_hosts=("s3.lab.test",))
    tgstore = launch(Tgstore, standin, [bucket], mode="regular", ready_url="http://s3.lab.test")
    stranger = Target(moto.endpoint, new_bucket(moto), moto.access_key_id, moto.secret_access_key)
    assert request(stranger, "PUT", "k", body=b"not ours", proxy=tgstore.proxy_url).status_code == 200
    assert moto.s3().get_object(Bucket=stranger.bucket, Key="k")["Body"].read() == b"not ours"
    assert not tgstore.holds("k")


def test_http2_client_with_tls(
    launch: Callable[..., Any],
    standin: Standin,
    rgw: Origin,
    certificates: Certificates,
    new_bucket: Callable[[Origin], str],
    scratch: Path,
) -> None:
    tgstore = launch(Tgstore, standin, [Bucket(new_bucket(rgw), rgw)], certificates=certificates)
    target = tgstore.target()
    large = PICTURE * 3000
    for key, body in [("small.png", PICTURE), ("large.bin", large)]:
        put = request(target, "PUT", key, body=body, http2=True)
        got = request(target, "GET", key, http2=True)
        assert (put.http_version, put.status_code) == ("HTTP/2", 200)
        assert (got.http_version, got.status_code) == ("HTTP/2", 200)
        assert got.content == body
    rgw.s3().put_object(Bucket=target.bucket, Key="old.png", Body=PICTURE)
    assert request(target, "GET", "old.png", http2=True).content == PICTURE
    assert request(target, "DELETE", "small.png", http2=True).status_code == 204
    assert request(target, "GET", "small.png", http2=True).status_code == 404


def test_curl_speaks_http2(
    launch: Callable[..., Any],
    standin: Standin,
    rgw: Origin,
    certificates: Certificates,
    new_bucket: Callable[[Origin], str],
    scratch: Path,
) -> None:
    curl = Curl("--http2")
    if reason := curl.why_not_here():
        pytest.skip(reason)
    tgstore = launch(Tgstore, standin, [Bucket(new_bucket(rgw), rgw)], certificates=certificates)
    file = scratch / "picture.png"
    file.write_bytes(PICTURE)
    curl.put(tgstore.target(), "a/b.png", file, "image/png")
    assert curl.http_version == "2"
    assert curl.get(tgstore.target(), "a/b.png", scratch).body == PICTURE
    curl.delete(tgstore.target(), "a/b.png")
    with pytest.raises(Refused):
        curl.get(tgstore.target(), "a/b.png", scratch)


# --- Several buckets and hostnames at once


@pytest.fixture(scope="module")
def two_buckets(
    launch: Callable[..., Any],
    standin: Standin,
    rgw: Origin,
    moto: Origin,
    new_bucket: Callable[[Origin], str],
) -> Tgstore:
    """Two buckets at two origins, each with names of its own, one shared path host, and keys of its own."""
    images, files = new_bucket(rgw), new_bucket(moto)
    started: Tgstore = launch(
        Tgstore,
        standin,
        [
            Bucket(images, rgw, hosts=(f"{images}.s3.lab.test", "img.lab.test"), path_hosts=("s3.lab.test", "localhost")),
            Bucket(
                files, moto, hosts=(f"{files}.s3.lab.test",), path_hosts=("s3.lab.test", "localhost"),
                access_key_id="AKTGSTORELAB0CLIENT1", secret_access_key="the-other-secret/0123456789", anonymous_read=True,
            ),
        ],
    )  # fmt: skip
    return started


@pytest.mark.usefixtures("lab_names")
def test_each_bucket_has_its_own_names_keys_and_origin(two_buckets: Tgstore) -> None:
    tgstore, endpoint = two_buckets, f"http://s3.lab.test:{two_buckets.port}"
    for number, bucket in enumerate(tgstore.buckets):
        target = tgstore.target(number, endpoint=endpoint)
        bucket.origin.s3().put_object(Bucket=bucket.name, Key="old", Body=f"old of {number}".encode())
        virtual = s3_client(target, addressing="virtual")
        virtual.put_object(Bucket=bucket.name, Key="same/key", Body=f"new of {number}".encode())
    for number, bucket in enumerate(tgstore.buckets):
        target = tgstore.target(number, endpoint=endpoint)
        for addressing in ("virtual", "path"):
            s3 = s3_client(target, addressing=addressing)
            assert s3.get_object(Bucket=bucket.name, Key="same/key")["Body"].read() == f"new of {number}".encode()
            assert s3.get_object(Bucket=bucket.name, Key="old")["Body"].read() == f"old of {number}".encode()


@pytest.mark.usefixtures("lab_names")
def test_keys_of_one_bucket_do_not_open_the_other(two_buckets: Tgstore) -> None:
    """A key of the other bucket is a stranger's key here: the origin, which verifies, refuses it."""
    owner = two_buckets.target(0)
    assert request(owner, "PUT", "private", body=b"secret of the first").status_code == 200
    crossed = two_buckets.target(1, bucket=owner.bucket)
    assert request(crossed, "GET", "private").status_code == 403
    assert request(crossed, "PUT", "private", body=b"overwritten").status_code == 403
    assert request(crossed, "DELETE", "private").status_code == 403
    assert request(owner, "GET", "private").content == b"secret of the first"


@pytest.mark.usefixtures("lab_names")
def test_image_domain_serves_public_objects_to_strangers(two_buckets: Tgstore) -> None:
    target = two_buckets.target(0)
    s3 = s3_client(target)
    s3.put_object(Bucket=target.bucket, Key="public.png", Body=PICTURE, ACL="public-read", ContentType="image/png")
    s3.put_object(Bucket=target.bucket, Key="private.png", Body=PICTURE)
    domain = f"http://img.lab.test:{two_buckets.port}"
    public = httpx.get(f"{domain}/public.png")
    assert (public.status_code, public.content, public.headers["content-type"]) == (200, PICTURE, "image/png")
    assert httpx.get(f"{domain}/private.png").status_code == 403
    # The second bucket is configured to be readable by anyone.
    other = two_buckets.target(1)
    assert request(other, "PUT", "anything", body=b"for all").status_code == 200
    assert httpx.get(other.url("anything")).content == b"for all"


@pytest.mark.usefixtures("lab_names")
def test_presigned_urls_in_virtual_host_style(two_buckets: Tgstore) -> None:
    target = two_buckets.target(0, endpoint=f"http://s3.lab.test:{two_buckets.port}")
    s3 = boto3.client(
        "s3",
        endpoint_url=target.endpoint,
        aws_access_key_id=target.access_key_id,
        aws_secret_access_key=target.secret_access_key,
        region_name=target.region,
        config=Config(s3={"addressing_style": "virtual"}, signature_version="s3v4"),
    )
    address = {"Bucket": target.bucket, "Key": "by link.png"}
    assert httpx.put(s3.generate_presigned_url("put_object", address), content=PICTURE).status_code == 200
    link = s3.generate_presigned_url("get_object", {**address, "ResponseContentType": "image/x-asked"})
    answer = httpx.get(link)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, PICTURE, "image/x-asked")
    assert httpx.get(link.replace("by%20link", "by%20other")).status_code == 403


# --- Where the settings come from, and what wrong ones do


@pytest.mark.parametrize("way", ["current folder", "option", "environment"])
def test_settings_are_found(
    way: str,
    launch: Callable[..., Any],
    standin: Standin,
    rgw: Origin,
    new_bucket: Callable[[Origin], str],
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "my settings.toml"
    chosen: dict[str, Any] = {
        "current folder": {},
        "option": {"config": elsewhere, "options": ["--set", f"tgstore_config={elsewhere}"]},
        "environment": {"config": elsewhere, "env": {"TGSTORE_CONFIG": str(elsewhere)}},
    }[way]
    tgstore = launch(Tgstore, standin, [Bucket(new_bucket(rgw), rgw)], **chosen)
    assert request(tgstore.target(), "PUT", "k", body=b"stored").status_code == 200
    assert request(tgstore.target(), "GET", "k").content == b"stored"


WRONG = {
    "not a size": ('bytes_max = "2GiB"', 'bytes_max = "plenty"', ["bytes_max", "plenty"]),
    "not a choice": ('unknown_keys = "origin"', 'unknown_keys = "maybe"', ["unknown_keys", "maybe"]),
    "not an address": ('addressing = "path"', 'addressing = "sideways"', ["addressing", "sideways"]),
    "unknown key": ('dir = "data/cache"', 'dirr = "data/cache"', ["dirr"]),
    "not a number": ("chat_ids = [", 'chat_ids = ["my channel", ', ["chat_ids", "my channel"]),
    "not TOML": ("[cache]", "[cache", ["config.toml"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_setting_stops_the_start(case: str, launch: Callable[..., Any], standin: Standin, moto: Origin) -> None:
    right, wrong, told = WRONG[case]
    tgstore = launch(Tgstore, standin, [Bucket("bucket", moto)], started=False)
    text = tgstore.config.read_text()
    assert right in text
    tgstore.config.write_text(text.replace(right, wrong, 1))
    tgstore.process.start()
    assert tgstore.process.exit_status(limit_s=30) == 1
    assert "Traceback" not in tgstore.process.log_text()
    log = tgstore.process.log_text()
    for word in ["config.toml", *told]:
        assert word in log
    for secret in [*BOT_TOKENS, SECRET_ACCESS_KEY, moto.secret_access_key]:
        assert secret not in log


def test_missing_settings_stop_the_start(launch: Callable[..., Any], standin: Standin, moto: Origin) -> None:
    tgstore = launch(Tgstore, standin, [Bucket("bucket", moto)], started=False)
    tgstore.config.unlink()
    tgstore.process.start()
    assert tgstore.process.exit_status(limit_s=30) == 1
    assert "config.toml" in tgstore.process.log_text()


def test_no_secret_in_the_log(
    launch: Callable[..., Any], standin: Standin, rgw: Origin, new_bucket: Callable[[Origin], str]
) -> None:
    tgstore = launch(
        Tgstore,
        standin,
        [Bucket(new_bucket(rgw), rgw)],
        options=["--set", "termlog_verbosity=debug", "--set", "flow_detail=2"],
    )
    story(tgstore.target(), s3_client(tgstore.target()), rgw)
    tgstore.wait_until_copied("old.png")
    tgstore.stop()
    log = tgstore.process.log_text()
    assert len(log) > 100
    for secret in [*BOT_TOKENS, SECRET_ACCESS_KEY, rgw.secret_access_key]:
        assert secret not in log
    assert not re.search(r"bot\d+:", log)


def test_certificate_is_the_given_one(
    launch: Callable[..., Any],
    standin: Standin,
    rgw: Origin,
    certificates: Certificates,
    new_bucket: Callable[[Origin], str],
) -> None:
    tgstore = launch(Tgstore, standin, [Bucket(new_bucket(rgw), rgw)], certificates=certificates)
    shown = ssl.get_server_certificate(("localhost", tgstore.port), ca_certs=str(certificates.authority))
    assert shown.strip() in certificates.server.read_text()
