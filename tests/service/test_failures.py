"""Failures in terms that SDKs understand: 503 where trying again helps, 4xx where it does not, and never a word of the cause."""

from __future__ import annotations

import pytest

from addon.service.failures import s3_error
from addon.store.conditions import Verdict
from addon.store.ports import (
    DocumentCorrupt,
    DocumentLost,
    IndexUnavailable,
    OriginChanged,
    OriginRefused,
    OriginUnavailable,
    PartsChanged,
    SourceChanged,
    StoreError,
    TelegramUnavailable,
    UploadGone,
    WriteRefused,
)

CAUSE = "what went wrong inside"


@pytest.mark.parametrize(
    ("failure", "status", "code", "retry_after"),
    [
        (TelegramUnavailable(CAUSE, retry_after_s=7.0), 503, "SlowDown", "8"),
        (IndexUnavailable(CAUSE), 503, "ServiceUnavailable", "5"),
        (OriginUnavailable(CAUSE), 503, "ServiceUnavailable", "6"),
        (OriginUnavailable(CAUSE, retry_after_s=0.0), 503, "ServiceUnavailable", "1"),
        (OriginRefused(CAUSE, status=403), 503, "ServiceUnavailable", "5"),
        (OriginChanged(CAUSE), 503, "ServiceUnavailable", "5"),
        (DocumentLost(CAUSE), 503, "ServiceUnavailable", "5"),
        (DocumentCorrupt(CAUSE), 503, "ServiceUnavailable", "5"),
        (SourceChanged(CAUSE), 409, "ConditionalRequestConflict", None),
        (PartsChanged(CAUSE), 409, "ConditionalRequestConflict", None),
        (UploadGone(CAUSE), 404, "NoSuchUpload", None),
        (WriteRefused(Verdict.FAILED), 412, "PreconditionFailed", None),
        (WriteRefused(Verdict.MISSING), 404, "NoSuchKey", None),
        (WriteRefused(Verdict.CONFLICT), 409, "ConditionalRequestConflict", None),
    ],
)
def test_each_failure(failure: StoreError, status: int, code: str, retry_after: str | None) -> None:
    error = s3_error(failure)
    assert (error.status, error.code, error.headers.get("Retry-After")) == (status, code, retry_after)
    assert CAUSE not in str(error)
