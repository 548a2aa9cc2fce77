"""Fixtures of the end-to-end tests: servers that live as long as the session, and names that resolve to loopback."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.lab import rgw as rgw_module
from tests.end_to_end.lab.certificates import Certificates, make_certificates
from tests.end_to_end.lab.half_moved import PAGES_OF_LOCALHOST, HalfMoved
from tests.end_to_end.lab.moto import Moto
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.rgw import Rgw
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.tgstore import Bucket, Tgstore

bucket_numbers = count(1)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def rgw_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rgw]:
    reason = rgw_module.why_not_here()
    if reason:
        pytest.skip(reason)
    server = Rgw(tmp_path_factory.mktemp("rgw"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def rgw(rgw_server: Rgw) -> Origin:
    return rgw_server.origin


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    server = Moto(tmp_path_factory.mktemp("moto"))
    server.start()
    yield server.origin
    server.stop()


@pytest.fixture(scope="session")
def new_bucket() -> Callable[[Origin], str]:
    """Makes an empty bucket at the origin and returns its name."""

    def make(origin: Origin) -> str:
        name = f"bucket-{next(bucket_numbers):04d}"
        origin.s3().create_bucket(Bucket=name)
        return name

    return make


@pytest.fixture(scope="session")
def half_moved(
    tmp_path_factory: pytest.TempPathFactory,
    rgw: Origin,
    new_bucket: Callable[[Origin], str],
    certificates: Certificates,
) -> Iterator[HalfMoved]:
    """One product for all the clients: each has a prefix of its own in its bucket."""
    with ExitStack() as stack:
        standin = Standin(tmp_path_factory.mktemp("standin"))
        stack.callback(standin.stop)
        standin.start()
        bucket = Bucket(new_bucket(rgw), rgw, cors=(PAGES_OF_LOCALHOST,))
        tgstore = Tgstore(tmp_path_factory.mktemp("tgstore"), standin, [bucket], certificates=certificates)
        stack.callback(tgstore.stop)
        tgstore.start()
        yield HalfMoved(tgstore)


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Starts stand-ins and products, and stops them after the module; ``launch(Standin, …)``, ``launch(Tgstore, …)``.

    Each gets a folder of its own. With ``started=False`` it is only prepared.
    """
    with ExitStack() as stack:

        def start(kind: type[Standin] | type[Tgstore], *arguments: Any, started: bool = True, **options: Any) -> Any:
            piece = kind(tmp_path_factory.mktemp(kind.__name__.lower()), *arguments, **options)
            stack.callback(piece.stop)
            if started:
                piece.start()
            return piece

        yield start


@pytest.fixture(scope="module")
def standin(launch: Callable[..., Any]) -> Any:
    return launch(Standin)


@pytest.fixture
def lab_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, names under ``lab.test`` and ``localhost`` are 127.0.0.1, whatever the machine's resolver says."""
    resolve = socket.getaddrinfo

    def resolve_lab(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if isinstance(name, str) and name.endswith((".lab.test", ".localhost")):
            host = "127.0.0.1"
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_lab)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder
