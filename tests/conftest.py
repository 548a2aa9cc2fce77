"""Settings of the whole test suite."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # Registered here, beside the scripts that select by it (scripts/test.sh).
    config.addinivalue_line("markers", "both_generations: end-to-end, and run under the second Python as well")
    # Tests talk to loopback only; a proxy of the surroundings must not come between.
    for name in list(os.environ):
        if name.lower() in {"http_proxy", "https_proxy", "all_proxy"}:
            del os.environ[name]
    # Neither may credentials or settings of the person who runs the tests.
    for name in [name for name in os.environ if name.startswith(("AWS_", "TGSTORE_"))]:
        del os.environ[name]
    _answer_for_names_of_tests()
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def _answer_for_names_of_tests() -> None:
    """Names under .test exist nowhere, and no resolver need be asked (RFC 6761, section 6.2); one that is slow to say so holds up
    each start of the product by seconds."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if isinstance(name, str) and name.endswith(".test") and not name.endswith("lab.test"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *arguments, **options)

    socket.getaddrinfo = getaddrinfo
