"""Keeps bot tokens out of what the HTTP libraries log themselves, at every level.

Our own requests bypass the line that httpx writes for each URL; this is for what remains: httpcore's DEBUG lines quote answer
headers (a `Location` may repeat the path), and other code of the process may use httpx in its usual way.
"""

from __future__ import annotations

import logging
import re

_TOKEN_IN_TEXT = re.compile(r"bot[0-9]+:[A-Za-z0-9_-]+|bot[0-9]+%3[aA][A-Za-z0-9_-]+")
_LIBRARY_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)


class _WithoutTokens(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        safe = _TOKEN_IN_TEXT.sub("bot<token>", text)
        if safe != text:
            record.msg, record.args = safe, ()
        return True


_FILTER = _WithoutTokens()


def guard_library_loggers() -> None:
    """Install the filter on the libraries' loggers; calling it again changes nothing."""
    for name in _LIBRARY_LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)
