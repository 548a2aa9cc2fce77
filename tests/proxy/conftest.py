"""A product in front of an origin that records, for what only shows on the wire."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import certificates, launch, moto, new_bucket, standin  # noqa: F401 -- fixtures
from tests.end_to_end.lab.certificates import Certificates
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.tgstore import Bucket, Tgstore
from tests.proxy.recording_origin import RecordingOrigin

with warnings.catch_warnings():
    # mitmproxy 11 imports ldap3, which uses names that its own dependency has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import mitmproxy.addons  # noqa: F401 -- imported here, so that no test meets the warning

# Lets mitmdump resolve the names of the laboratory: Python imports this file at its start.
RESOLVER = """
import socket
_resolve = socket.getaddrinfo
def _resolve_lab(host, *arguments, **options):
    name = host.decode() if isinstance(host, bytes) else host
    if isinstance(name, str) and name.endswith(".lab.test"):
        host = "127.0.0.1"
    return _resolve(host, *arguments, **options)
socket.getaddrinfo = _resolve_lab
"""


@pytest.fixture(scope="session")
def resolver(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which every name under `lab.test` is 127.0.0.1."""
    folder = tmp_path_factory.mktemp("resolver")
    (folder / "sitecustomize.py").write_text(RESOLVER)
    return {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def recording() -> Iterator[RecordingOrigin]:
    origin = RecordingOrigin()
    origin.start()
    yield origin
    origin.stop()


@pytest.fixture(scope="module")
def front(
    launch: Callable[..., Any],  # noqa: F811 -- the fixture
    standin: Standin,  # noqa: F811 -- the fixture
    recording: RecordingOrigin,
    certificates: Certificates,  # noqa: F811 -- the fixture
    resolver: dict[str, str],
) -> Any:
    """In front of the recording origin, in reverse mode: `images` is addressed there by path, `virtual` by host name; `pages` has
    cross-origin rules in the settings."""
    origin = Origin(f"http://127.0.0.1:{recording.port}", "AKORIGIN", "origin-secret")
    product = launch(
        Tgstore,
        standin,
        [
            Bucket("images", origin, hosts=("img.lab.test",), path_hosts=("s3.lab.test", "localhost"),
                   origin_bucket="real", origin_keys=False),
            Bucket("virtual", origin, hosts=("virtual.lab.test",), path_hosts=(), access_key_id="AKTGSTORELAB0CLIENT1",
                   origin_keys=False),
            Bucket("strict", origin, hosts=("strict.lab.test",), path_hosts=(), access_key_id="AKTGSTORELAB0CLIENT2",
                   unknown_keys="reject", origin_keys=False),
            Bucket("pages", origin, hosts=("pages.lab.test",), path_hosts=(), access_key_id="AKTGSTORELAB0CLIENT3",
                   origin_keys=False, cors=({"allowed_origins": ["https://site.test"], "allowed_methods": ["GET", "POST"]},)),
        ],
        started=False,
        certificates=certificates,
        env=resolver,
    )  # fmt: skip
    address_by_host_name(product.config, recording.port)
    product.start()
    return product


def address_by_host_name(config: Path, port: int) -> None:
    """Give the second bucket's origin virtual-host addressing."""
    first, second, *others = config.read_text().split("[[buckets]]")[1:]
    head = config.read_text().split("[[buckets]]")[0]
    second = second.replace("http://127.0.0.1", "http://origin.lab.test").replace('"path"', '"virtual"')
    config.write_text("[[buckets]]".join([head, first, second, *others]))
