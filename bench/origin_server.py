"""The fastest honest origin: answers every GET and HEAD with the same bytes, so that the proxies in front are what is measured.

python -m bench.origin_server PORT BODY_BYTES
"""

from __future__ import annotations

import asyncio
import hashlib
import sys


class _Answerer(asyncio.Protocol):
    def __init__(self, body: bytes) -> None:
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nAccept-Ranges: bytes\r\n"
            "Last-Modified: Mon, 02 Nov 2026 10:00:00 GMT\r\n"
            f'ETag: "{hashlib.md5(body).hexdigest()}"\r\nContent-Length: {len(body)}\r\n\r\n'
        ).encode()
        self._head, self._whole = head, head + body
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._pending = (self._pending + data).split(b"\r\n\r\n")
        for request in requests:
            self._transport.write(self._head if request.startswith(b"HEAD") else self._whole)


async def serve(port: int, body_bytes: int) -> None:
    body = b"\x89" * body_bytes
    server = await asyncio.get_running_loop().create_server(lambda: _Answerer(body), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
