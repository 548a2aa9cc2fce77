"""A page in headless Chromium that talks to the bucket from another origin, as browsers allow it."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.end_to_end.lab.certificates import Certificates
from tests.end_to_end.lab.clients.programs import SCRIPTS, missing, run, version_in
from tests.end_to_end.lab.process import LabProcess

PAGE = SCRIPTS / "page.html"
RESULT_LIMIT_S = 60.0
RESULT_BYTES_MAX = 1 << 20
# Chromium looks for its makers' servers otherwise, and waits for answers that a closed network does not give.
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server",
)  # fmt: skip


class PageServer:
    """Serves the page and what it is to do, and takes what became of it; each under an origin of its own port."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self.outcomes: list[dict[str, Any]] | None = None
        self.redirected_to: list[str] = []  # path and query of each visit to /done…
        self.told = threading.Event()
        self.host = "localhost"  # the name under which the browser opens it
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(PageRequest, self))

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.http.server_address[1]}"


class PageRequest(BaseHTTPRequestHandler):
    def __init__(self, pages: PageServer, *arguments: Any) -> None:
        self.pages = pages
        super().__init__(*arguments)

    def do_GET(self) -> None:
        if self.path == "/":
            self._answer(200, "text/html; charset=utf-8", PAGE.read_bytes())
        elif self.path == "/steps":
            self._answer(200, "application/json", json.dumps(self.pages.steps).encode())
        elif self.path.startswith("/done"):
            self.pages.redirected_to.append(self.path)
            self._answer(200, "text/html", b"<title>done</title>")
        else:
            self._answer(404, "text/plain", b"")

    def do_POST(self) -> None:
        length = min(int(self.headers.get("content-length", "0")), RESULT_BYTES_MAX)
        self.pages.outcomes = json.loads(self.rfile.read(length))
        self._answer(204, "text/plain", b"")
        self.pages.told.set()

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def page_server() -> Iterator[PageServer]:
    pages = PageServer()
    thread = threading.Thread(target=pages.http.serve_forever, name="page-server", daemon=True)
    thread.start()
    try:
        yield pages
    finally:
        pages.http.shutdown()
        pages.http.server_close()
        thread.join(RESULT_LIMIT_S)


class Chromium:
    name = "chromium"

    def why_not_here(self) -> str | None:
        return missing("chromium")

    def version(self) -> str:
        return version_in(run(["chromium", "--version", "--no-sandbox"]).stdout)

    def visit(
        self, pages: PageServer, steps: list[dict[str, Any]], certificates: Certificates, scratch: Path
    ) -> list[dict[str, Any]]:
        """Open the page, and return what it says of each of the ``steps`` (see clients/page.html)."""
        pages.steps, pages.outcomes = steps, None
        pages.told.clear()
        browser = LabProcess(
            "chromium",
            ["chromium", *QUIET, f"--user-data-dir={scratch / 'profile'}",
             f"--ignore-certificate-errors-spki-list={public_key_hash(certificates)}", pages.origin],
            log=scratch / "chromium.log",
            env={"HOME": str(scratch)},
        )  # fmt: skip
        browser.start()
        try:
            browser.wait_until(pages.told.is_set, RESULT_LIMIT_S)
        finally:
            browser.stop()
        assert pages.outcomes is not None
        return pages.outcomes


def public_key_hash(certificates: Certificates) -> str:
    """How Chromium is told to trust one certificate, without an entry in a certificate store."""
    certificate = x509.load_pem_x509_certificates(certificates.server.read_bytes())[0]
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()
