"""The laboratory proves itself: its clients work against its servers with nothing of ours in between.

What fails here is the laboratory's fault, or the machine's, never the product's.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.lab.certificates import Certificates
from tests.end_to_end.lab.clients import Client, PicGo, signing_clients
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.process import LabError, LabProcess, held_port, listening
from tests.end_to_end.lab.rgw import Rgw
from tests.end_to_end.lab.target import Refused, Target, request, trust

pytestmark = pytest.mark.end_to_end

PNG_HEAD = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def tls_front(rgw: Origin, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bare mitmdump before the RGW: HTTPS towards clients, no addon."""
    folder, port = tmp_path_factory.mktemp("front"), held_port()
    front = LabProcess(
        "mitmdump",
        [Path(sys.executable).parent / "mitmdump", "--mode", f"reverse:{rgw.endpoint}", "--listen-host", "127.0.0.1",
         "-p", str(port), "--set", f"confdir={folder}", "--set", "keep_host_header=true",
         "--certs", f"*={certificates.server}"],
        log=folder / "mitmdump.log",
    )  # fmt: skip
    front.start()
    try:
        front.wait_until(lambda: listening(port), 30)
        yield f"https://localhost:{port}"
    finally:
        front.stop()


def target_of(rgw: Origin, endpoint: str, bucket: str, certificates: Certificates) -> Target:
    authority = certificates.authority if endpoint.startswith("https") else None
    return Target(endpoint, bucket, rgw.access_key_id, rgw.secret_access_key, authority)


# RGW 16.2 does not know trailing checksums; what sends them by default cannot be tried against it directly.
TRAILING = {("boto3", "https"), ("aws-cli", "https"), ("aws-sdk-js-stream", "http"), ("aws-sdk-js-stream", "https")}
DIRECT = [
    pytest.param(client, scheme, id=f"{client.name}-{scheme}")
    for client in signing_clients()
    for scheme in ("http", "https")
    if (client.name, scheme) not in TRAILING
]


@pytest.mark.parametrize(("client", "scheme"), DIRECT)
def test_client_stores_reads_and_deletes(
    client: Client,
    scheme: str,
    rgw: Origin,
    certificates: Certificates,
    new_bucket: Callable[[Origin], str],
    scratch: Path,
    request: pytest.FixtureRequest,
) -> None:
    if reason := client.why_not_here():
        pytest.skip(reason)
    endpoint = rgw.endpoint if scheme == "http" else request.getfixturevalue("tls_front")
    target = target_of(rgw, endpoint, new_bucket(rgw), certificates)
    file = scratch / "picture.bin"
    file.write_bytes(bytes(range(256)) * 400)
    client.put(target, "some dir/a+b ü.bin", file, "image/x-lab")
    got = client.get(target, "some dir/a+b ü.bin", scratch)
    assert got.body == file.read_bytes()
    assert got.headers.get("content-type", "image/x-lab") == "image/x-lab"
    assert client.head(target, "some dir/a+b ü.bin").get("content-length", "102400") == "102400"
    client.delete(target, "some dir/a+b ü.bin")
    with pytest.raises(Refused) as refused:
        client.head(target, "some dir/a+b ü.bin")
    assert refused.value.status == 404


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_picgo_uploads_and_its_url_is_public(
    scheme: str,
    rgw: Origin,
    certificates: Certificates,
    new_bucket: Callable[[Origin], str],
    scratch: Path,
    request: pytest.FixtureRequest,
) -> None:
    if reason := PicGo().why_not_here():
        pytest.skip(reason)
    endpoint = rgw.endpoint if scheme == "http" else request.getfixturevalue("tls_front")
    target = target_of(rgw, endpoint, new_bucket(rgw), certificates)
    file = scratch / "picture.png"
    file.write_bytes(PNG_HEAD + bytes(1000))
    url = PicGo().upload(target, file, scratch)
    assert httpx.get(url, verify=trust(target.authority)).content == file.read_bytes()


def test_wrong_key_is_refused_by_rgw(rgw: Origin, new_bucket: Callable[[Origin], str]) -> None:
    target = Target(rgw.endpoint, new_bucket(rgw), rgw.access_key_id, "not the secret key")
    assert request(target, "PUT", "k", body=b"x").status_code == 403


def test_rgw_comes_back_with_its_buckets(rgw_server: Rgw, new_bucket: Callable[[Origin], str]) -> None:
    bucket = new_bucket(rgw_server.origin)
    rgw_server.origin.s3().put_object(Bucket=bucket, Key="kept", Body=b"bytes")
    rgw_server.pause()
    assert not listening(rgw_server.port)
    rgw_server.resume()
    assert rgw_server.origin.s3().get_object(Bucket=bucket, Key="kept")["Body"].read() == b"bytes"


def test_moto_answers(moto: Origin, new_bucket: Callable[[Origin], str]) -> None:
    bucket = new_bucket(moto)
    moto.s3().put_object(Bucket=bucket, Key="k", Body=b"bytes")
    assert moto.s3().get_object(Bucket=bucket, Key="k")["Body"].read() == b"bytes"


def test_process_that_dies_is_reported_with_its_log(tmp_path: Path) -> None:
    process = LabProcess(
        "dying", [sys.executable, "-c", "print('last words'); raise SystemExit(3)"], log=tmp_path / "log"
    )
    process.start()
    with pytest.raises(LabError, match=r"(?s)status 3.*last words"):
        process.wait_until(lambda: False, 20)


def test_held_port_is_nobody_elses_and_takes_a_server_again_and_again() -> None:
    port = held_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    assert not listening(port)
    for _ in range(2):
        with socket.create_server(("127.0.0.1", port)):
            assert listening(port)
