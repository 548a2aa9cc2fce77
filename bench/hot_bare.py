"""The yardstick of a hot GET: the two-line addon that answers the same bytes."""

import os

from mitmproxy import http

BODY = b"\x89" * int(os.environ["BENCH_BODY_BYTES"])


def request(flow: http.HTTPFlow) -> None:
    flow.response = http.Response.make(200, BODY, {"content-type": "image/png"})
