"""Failures behind us in terms that SDKs understand: which are refusals, and which are to be tried again."""

from __future__ import annotations

from addon.s3.errors import S3Error
from addon.service.conditions import refusal
from addon.store.ports import (
    IndexUnavailable,
    OriginIsOurselves,
    OriginRefused,
    OriginUnavailable,
    PartsChanged,
    SourceChanged,
    StoreError,
    TelegramUnavailable,
    UploadGone,
    WriteRefused,
)

INDEX_RETRY_AFTER_S = 5


def s3_error(failure: StoreError) -> S3Error:
    """SlowDown where Telegram makes us wait, a refusal where the state of things forbids it, else ServiceUnavailable."""
    if isinstance(failure, WriteRefused):
        return refusal(failure)
    if isinstance(failure, UploadGone):
        return S3Error(
            "NoSuchUpload",
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
        )
    if isinstance(failure, SourceChanged | PartsChanged):
        return S3Error(
            "ConditionalRequestConflict",
            "A conflicting operation changed what this request was about. Please try again.",
        )
    if isinstance(failure, TelegramUnavailable):
        return S3Error(
            "SlowDown", "Please reduce your request rate.", headers={"Retry-After": _seconds(failure.retry_after_s)}
        )
    if isinstance(failure, IndexUnavailable):
        return S3Error(
            "ServiceUnavailable", "The index does not answer.", headers={"Retry-After": str(INDEX_RETRY_AFTER_S)}
        )
    if isinstance(failure, OriginIsOurselves):
        return S3Error("LoopDetected", "The origin of this bucket leads back to tgstore itself.")
    if isinstance(failure, OriginUnavailable):
        wait_s = failure.retry_after_s if failure.retry_after_s is not None else INDEX_RETRY_AFTER_S
        return S3Error("ServiceUnavailable", "The origin does not answer.", headers={"Retry-After": _seconds(wait_s)})
    if isinstance(failure, OriginRefused):
        return S3Error(
            "ServiceUnavailable",
            f"The origin does not take this: it answered {failure.status}.",
            headers={"Retry-After": str(INDEX_RETRY_AFTER_S)},
        )
    return S3Error(
        "ServiceUnavailable",
        "The object cannot be read right now.",
        headers={"Retry-After": str(INDEX_RETRY_AFTER_S)},
    )


def _seconds(wait_s: float) -> str:
    return str(max(1, round(wait_s + 0.5)))
