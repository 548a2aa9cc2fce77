"""Answers that may take long: the client hears something before it gives up.

S3 begins the answer to a long copy with 200 and white space, and says in the body how it ended
(https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html, "Response and special errors"); SDKs read the body for an
`<Error>` there. What ends before `PATIENCE_S` keeps its own status.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from addon.s3.errors import S3Error, error_xml
from addon.service.failures import s3_error
from addon.service.request import Answer, S3Request
from addon.store.ports import StoreError

logger = logging.getLogger(__name__)

# Clients wait a minute for the first byte by default (botocore); a proxy between them and us may wait less.
PATIENCE_S = 10.0
WHITE_SPACE_S = 5.0

_DECLARATION, _, _ = error_xml(S3Error("InternalError", ""), resource="", request_id="").partition(b"\n")


async def answer_when_done(
    request: S3Request,
    work: Callable[[], Coroutine[Any, Any, bytes]],
    *,
    patience_s: float | None = None,
    white_space_s: float | None = None,
) -> Answer:
    """The answer to `work`, which gives an XML document with its declaration, or raises `S3Error` or `StoreError`.

    Those pass where they come within `patience_s` seconds. After that the answer has begun, and a piece of white space comes every
    `white_space_s` seconds. A client that leaves then ends the work.
    """
    task = asyncio.create_task(work())
    try:
        await asyncio.wait({task}, timeout=PATIENCE_S if patience_s is None else patience_s)
    except BaseException:
        await _ended(task)
        raise
    headers = [("content-type", "application/xml")]
    if task.done():
        body = task.result()
        return Answer(200, [*headers, ("content-length", str(len(body)))], body)
    return Answer(200, headers, _kept_awake(request, task, WHITE_SPACE_S if white_space_s is None else white_space_s))


async def _kept_awake(
    request: S3Request, task: asyncio.Task[bytes], white_space_s: float
) -> AsyncGenerator[bytes, None]:
    try:
        yield _DECLARATION + b"\n"
        while not (await asyncio.wait({task}, timeout=white_space_s))[0]:
            yield b" "
        yield _without_declaration(_outcome(request, task))
    finally:
        await _ended(task)


def _outcome(request: S3Request, task: asyncio.Task[bytes]) -> bytes:
    """The document, or that of the error which took its place."""
    try:
        return task.result()
    except S3Error as error:
        refused = error
    except StoreError as failure:
        logger.warning("%s %s: %s", request.method, request.request_id, failure)
        refused = s3_error(failure)
    except Exception:  # the status is out already: only here can the client still be told
        logger.exception("unforeseen failure in request %s", request.request_id)
        refused = S3Error("InternalError", "We encountered an internal error. Please try again.")
    return error_xml(refused, resource=request.raw_path, request_id=request.request_id)


def _without_declaration(xml: bytes) -> bytes:
    return xml.removeprefix(_DECLARATION).lstrip(b"\n")


async def _ended(task: asyncio.Task[bytes]) -> None:
    if not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
