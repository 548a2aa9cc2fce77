"""The fastest honest origin: answers every GET and HEAD of a key with the same bytes, so that the proxies in front are what is
measured. Its listing (ListObjectsV2 behind `start-after`) shows KEYS keys, which are numbers of one length.

python -m bench.origin_server PORT BODY_BYTES KEYS
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from urllib.parse import parse_qs, urlsplit

LISTED_MAX = 1000
MODIFIED = "2026-11-02T10:00:00.000Z"


def key(number: int) -> str:
    """The key of this number."""
    return f"{number:08d}"


def listing(query: str, keys: int, etag: str, size: int) -> bytes:
    """The page of the listing that the query asks for."""
    after = parse_qs(query).get("start-after", [""])[0]
    first = int(after) + 1 if after else 0
    shown = range(first, min(first + LISTED_MAX, keys))
    contents = "".join(
        f"<Contents><Key>{key(number)}</Key><LastModified>{MODIFIED}</LastModified><ETag>&quot;{etag}&quot;</ETag>"
        f"<Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for number in shown
    )
    truncated = "true" if shown.stop < keys else "false"
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<EncodingType>url</EncodingType><KeyCount>{len(shown)}</KeyCount><IsTruncated>{truncated}</IsTruncated>"
        f"{contents}</ListBucketResult>"
    ).encode()


def head_of(body: bytes, content_type: str) -> bytes:
    """Status line and header fields of an answer."""
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nAccept-Ranges: bytes\r\n"
        "Last-Modified: Mon, 02 Nov 2026 10:00:00 GMT\r\n"
        f'ETag: "{hashlib.md5(body).hexdigest()}"\r\nContent-Length: {len(body)}\r\n\r\n'
    ).encode()


class _Answerer(asyncio.Protocol):
    def __init__(self, body: bytes, keys: int) -> None:
        self._etag, self._size, self._keys = hashlib.md5(body).hexdigest(), len(body), keys
        self._head = head_of(body, "image/png")
        self._whole = self._head + body
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._pending = (self._pending + data).split(b"\r\n\r\n")
        for request in requests:
            if request.startswith(b"HEAD"):
                self._transport.write(self._head)
            elif b"?list-type=2&" in request.partition(b"\r\n")[0]:
                page = listing(urlsplit(request.split(b" ", 2)[1].decode()).query, self._keys, self._etag, self._size)
                self._transport.write(head_of(page, "application/xml") + page)
            else:
                self._transport.write(self._whole)


async def serve(port: int, body_bytes: int, keys: int) -> None:
    body = b"\x89" * body_bytes
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Answerer(body, keys), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*map(int, sys.argv[1:])))
