"""A plain client: fetches URLs one after another over one connection and throws the bytes away.

python -m bench.fetch FILE

FILE has a URL in each line. It says `ready`, begins when a line comes in, and says how many bytes came.
"""

from __future__ import annotations

import http.client
import sys
from pathlib import Path
from urllib.parse import urlsplit

BUFFER_BYTES = 1 << 20


def fetch(urls: list[str]) -> int:
    connection = http.client.HTTPConnection(urlsplit(urls[0]).netloc, timeout=600)
    buffer, size = bytearray(BUFFER_BYTES), 0
    for url in urls:
        path = urlsplit(url).path
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
        except ConnectionError:
            # A connection that is kept alive may end at any time; a new one is opened for the next request.
            connection.close()
            connection.request("GET", path)
            answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise SystemExit(f"status {answer.status}")
        while count := answer.readinto(buffer):
            size += count
    return size


if __name__ == "__main__":
    wanted = Path(sys.argv[1]).read_text().split()
    print("ready", flush=True)
    sys.stdin.readline()
    print(fetch(wanted), flush=True)
