"""The object service: an ASGI application that authenticates every request itself and answers in S3's terms.

It trusts nobody, the switch in front included. The order is the same for each request: which bucket and operation, who asks, may
they, then do it. Every exception ends as an S3 error; none ends as a success.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from addon.s3.errors import S3Error, error_xml
from addon.s3.http_dates import format_http_date
from addon.s3.operations import HANDLING, Handling, Operation
from addon.service.authorize import Authorizer, Call
from addon.service.buckets import Directory
from addon.service.cors import Cors
from addon.service.failures import s3_error
from addon.service.forward import Forwarder
from addon.service.request import Answer, ClientGone, Receive, S3Request, Send, new_request_id
from addon.store.ports import StoreError

logger = logging.getLogger(__name__)

Handler = Callable[[Call], Awaitable[Answer]]
HeaderCheck = Callable[[Call], object]

# All header lines of a request together. S3 takes 8 KB; cookies and what proxies add come on top. Without a limit whoever asks
# decides how long the rules of a bucket are held against a header.
HEADER_BYTES_MAX = 32 * 1024


class ObjectService:
    """The ASGI application."""

    def __init__(
        self,
        directory: Directory,
        authorizer: Authorizer,
        handlers: Mapping[Operation, Handler],
        header_checks: Mapping[Operation, HeaderCheck],
        forwarder: Forwarder,
        cors: Cors,
    ) -> None:
        """`handlers` do what is `NATIVE`; `header_checks` raise what the headers alone show to be wrong."""
        self._directory, self._authorizer = directory, authorizer
        self._handlers, self._header_checks, self._forwarder = handlers, header_checks, forwarder
        self._cors = cors

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3.0, HTTP)."""
        if scope["type"] != "http":
            raise ValueError(f"unexpected ASGI scope {scope['type']!r}")
        request = _request(scope, receive)
        try:
            answer = await self._answer_or_error(request)
        except ClientGone:
            return
        await _send_answer(request, await self._for_pages(request, answer), send)

    def would_refuse(self, request: S3Request) -> bool:
        """Whether the headers alone show that the request will be refused: then its body need not be invited.

        Only a hint; the request itself is judged anew when it arrives.
        """
        try:
            call = self._identify(request)
            # The signature of a browser's form stands in its body, so such a body has to be invited.
            may_come = call.verified is not None or call.target.operation is Operation.POST_OBJECT
            check = self._header_checks.get(call.target.operation)
            if may_come and check is not None:
                check(call)
        except S3Error:
            return True
        return not may_come

    async def _answer_or_error(self, request: S3Request) -> Answer:
        try:
            return await self._answer(request)
        except ClientGone:
            raise
        except S3Error as error:
            return error_answer(error, request)
        except StoreError as failure:
            logger.warning("%s %s: %s", request.method, request.request_id, failure)
            return error_answer(s3_error(failure), request)
        except Exception:  # the outermost place: nothing may pass it as a success
            logger.exception("unforeseen failure in request %s", request.request_id)
            return error_answer(
                S3Error("InternalError", "We encountered an internal error. Please try again."), request
            )

    async def _for_pages(self, request: S3Request, answer: Answer) -> Answer:
        """The answer with its cross-origin headers, where a browser asks for a page; without them the page sees nothing of it."""
        try:
            origin = request.header("origin")
            if origin is None or request.method == "OPTIONS":
                return answer
            addressed = self._directory.find(
                request.host, request.method, request.raw_path, request.raw_query, request.headers
            )
            if addressed is None:
                return answer
            return await self._cors.answered(addressed.bucket, origin, request.method, answer)
        except S3Error:
            return answer
        except Exception:  # the answer itself is right
            logger.exception("the cross-origin headers of request %s could not be found", request.request_id)
            return answer

    async def _answer(self, request: S3Request) -> Answer:
        call = self._identify(request)
        operation = call.target.operation
        handling = HANDLING[operation]
        handler = self._handlers.get(operation) if handling is Handling.NATIVE else None
        if handler is not None:
            return await handler(call)
        if handling is not Handling.FORWARD:
            raise not_implemented(operation)
        if call.verified is None:
            raise S3Error("AccessDenied", "Access Denied")
        return await self._forwarder.forward(call)

    def _identify(self, request: S3Request) -> Call:
        _check_head(request)
        addressed = self._directory.find(
            request.host, request.method, request.raw_path, request.raw_query, request.headers
        )
        if addressed is None:
            raise S3Error("NoSuchBucket", "The specified bucket does not exist")
        return self._authorizer.identify(request, addressed)


def not_implemented(operation: Operation) -> S3Error:
    """What is not built yet, said so that nobody takes it for done."""
    return S3Error("NotImplemented", f"{operation.value} is not implemented by tgstore yet.")


def error_answer(error: S3Error, request: S3Request) -> Answer:
    """The response for an S3 error; a HEAD gets no body (RFC 9110, section 9.3.2)."""
    body = error_xml(error, resource=request.raw_path, request_id=request.request_id)
    headers = [(name.lower(), value) for name, value in error.headers.items()]
    headers += [("content-type", "application/xml")]
    if request.method == "HEAD":
        return Answer(error.status, headers)
    return Answer(error.status, [*headers, ("content-length", str(len(body)))], body)


def _check_head(request: S3Request) -> None:
    if sum(len(name) + len(value) for name, value in request.headers) > HEADER_BYTES_MAX:
        raise S3Error(
            "RequestHeaderSectionTooLarge",
            "Your request header section exceeds the maximum allowed request header size",
            details={"MaxSizeAllowed": str(HEADER_BYTES_MAX)},
        )


def _request(scope: MutableMapping[str, Any], receive: Receive) -> S3Request:
    return S3Request(
        request_id=new_request_id(),
        method=scope["method"],
        raw_path=scope["raw_path"].decode("latin-1"),
        raw_query=scope["query_string"].decode("latin-1"),
        headers=[(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]],
        receive=receive,
    )


async def _send_answer(request: S3Request, answer: Answer, send: Send) -> None:
    headers = [*answer.headers]
    given = {name for name, _ in headers}
    if "x-amz-request-id" not in given:
        headers.append(("x-amz-request-id", request.request_id))
    if "date" not in given:
        headers.append(("date", format_http_date(int(time.time()))))
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        }
    )
    if isinstance(answer.body, bytes):
        await send({"type": "http.response.body", "body": answer.body})
        return
    gone = asyncio.create_task(_disconnected(request.receive))
    try:
        async with contextlib.aclosing(answer.body) as pieces:
            async for piece in pieces:
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    except (StoreError, S3Error) as failure:
        # The status is out already. Without the last event uvicorn closes the connection short of Content-Length, which every
        # client sees as a broken transfer.
        logger.warning("transfer broken off in request %s: %s", request.request_id, failure)
        return
    finally:
        gone.cancel()
    await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Receive) -> None:
    """Returns when the client has gone: uvicorn goes on taking what is sent to nobody."""
    while (await receive())["type"] != "http.disconnect":
        pass
