"""For every test of this folder: whatever it did, the stand-in's tokens are in no log line of any level."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.telegram.secrecy import assert_no_token


@pytest.fixture(autouse=True)
def tokens_show_nowhere(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    for when in ("setup", "call"):
        for record in caplog.get_records(when):
            assert_no_token(record.getMessage(), record.exc_info[1] if record.exc_info else None)
