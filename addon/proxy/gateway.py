"""The running whole as the hooks use it: routes flows, follows them, logs a line for each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mitmproxy import connection, http

from addon.config import Config
from addon.proxy import flows
from addon.proxy.loops import LoopGuard, Looping, loop_error
from addon.proxy.memory import AtHand, answer_from_memory, no_such_key_at_hand
from addon.proxy.passage import Passage, Passages
from addon.proxy.routes import Claim, Route
from addon.proxy.switch import Routing, Seen, Switch
from addon.s3.errors import S3Error
from addon.s3.http_dates import format_http_date
from addon.s3.operations import Operation
from addon.service.absent import AbsentKeys, is_plain_read
from addon.service.app import ObjectService
from addon.service.buckets import Bucket
from addon.service.cors import Cors
from addon.service.handover import TICKET_HEADER, HandedBody, Handover
from addon.service.request import S3Request, new_request_id
from addon.store.freshness import Freshness
from addon.store.object_store import ObjectStore
from addon.store.own_connections import Ends

logger = logging.getLogger(__name__)
access_log = logging.getLogger("tgstore.access")

METADATA_KEY = "tgstore"
# So long after a client has gone the hooks of its requests have run, where there are any.
FAREWELL_S = 1.0


@dataclass(slots=True)
class _Followed:
    """What we remember of a flow: what was asked, where it went, since when, of which bucket, its passage where it went past us,
    the answer that is at hand for it, where its body may be handed over and by which ticket, the key of which the origin is asked
    whether it is there, since which change, whether it waits for an answer still, and whether it has ended."""

    seen: Seen
    route: Route
    started_s: float
    bucket: Bucket | None = None
    passage: Passage | None = None
    at_hand: AtHand | None = None
    handed: HandedBody | None = None
    ticket: str = ""
    absent_key: str | None = None
    waits: bool = False
    question: int = 0
    is_over: bool = False


class Gateway:
    """Everything between mitmproxy and the object service."""

    def __init__(
        self,
        *,
        switch: Switch,
        store: ObjectStore,
        service: ObjectService,
        service_address: tuple[str, int],
        handover: Handover,
        passages: Passages,
        freshness: Freshness,
        absent: AbsentKeys,
        loops: LoopGuard,
        take_over: Callable[[Config], None] = lambda _: None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._switch, self.service_address, self._handover = switch, service_address, handover
        self._store, self._service, self._passages = store, service, passages
        self.take_over = take_over
        """Called with changed settings: what may change while everything runs is taken over."""
        self._freshness, self._absent, self._loops = freshness, absent, loops
        self._monotonic_s = monotonic_s
        self._upstream: dict[str, Ends | None] = {}
        self._under_way: dict[str, dict[str, http.HTTPFlow]] = {}
        self._farewells: set[asyncio.Task[None]] = set()
        self._stop: Callable[[], Awaitable[None]] | None = None

    def on_stop(self, stop: Callable[[], Awaitable[None]]) -> None:
        """Say how everything that was started with the gateway is stopped."""
        self._stop = stop

    async def stop(self) -> None:
        """Stop everything that was started with it."""
        for farewell in self._farewells:
            farewell.cancel()
        if self._stop is not None:
            await self._stop()

    async def route(self, flow: http.HTTPFlow) -> None:
        """Send a flow where it belongs; one for another host is left alone. Raises `Looping` for one that came from ourselves or
        would come back, and what else stands in the way: then fail closed."""
        client = flow.client_conn
        if self._loops.came_from_us(client.peername, client.sockname, flow.request.data.path.decode("latin-1")):
            raise Looping
        ours = any(map(self._switch.is_ours, flows.hosts(flow)))
        if ours or flows.is_reverse(flow):
            flows.frame_body(flow)
        if not ours:
            return
        seen = flows.seen(flow)
        routing = await self._switch.route(seen)
        if routing is None:
            if not self._switch.is_ours(seen.host):
                raise S3Error("InvalidRequest", "The request names more than one host.")
            return
        followed = _Followed(seen, routing.route, self._monotonic_s())
        to_origin = routing.route in (Route.ORIGIN_UNTOUCHED, Route.ORIGIN_ANONYMOUS)
        if routing.addressed is not None:
            followed.bucket = routing.addressed.bucket
            if routing.addressed.target.operation is Operation.POST_OBJECT:
                flows.tell_scheme(flow)
            await self._loops.begin(followed.bucket.name, to_origin=to_origin)
            followed.waits = True
        flow.metadata[METADATA_KEY] = followed
        self._under_way.setdefault(flow.client_conn.id, {})[flow.id] = flow
        try:
            await self._send(flow, routing, followed, to_origin=to_origin)
        except BaseException:
            self._ended(flow, followed)
            raise
        if followed.is_over and followed.passage is not None:
            await self._passages.end(followed.passage, None, b"")

    async def _send(self, flow: http.HTTPFlow, routing: Routing, followed: _Followed, *, to_origin: bool) -> None:
        """Where it was decided that a flow goes."""
        seen = followed.seen
        if to_origin:
            followed.passage = await self._passages.begin(routing, seen.method)
            self._send_to_origin(flow, routing)
            if _may_be_absent(routing, seen) and routing.addressed is not None:
                followed.absent_key = routing.addressed.target.key
                followed.question = self._absent.question()
        else:
            if routing.route is Route.MEMORY and not flows.has_body(flow):
                followed.at_hand = answer_from_memory(self._store, routing, seen)
            followed.route = Route.SERVICE
            if "expect" in flow.request.headers and self._service.would_refuse(_without_body(seen)):
                flows.forget_expectation(flow)
            flows.send_to_service(flow, self.service_address)
            if seen.method == "GET":
                followed.ticket, followed.handed = self._handover.offer()
                flow.request.headers.add(TICKET_HEADER, followed.ticket)

    def _answered(self, followed: _Followed) -> None:
        """It waits for no answer any more."""
        if followed.waits and followed.bucket is not None:
            followed.waits = False
            self._loops.end(followed.bucket.name)

    def _ended(self, flow: http.HTTPFlow, followed: _Followed) -> None:
        """Nothing of it is to come any more."""
        followed.is_over = True
        self._answered(followed)
        self._handover.withdraw(followed.ticket)
        of_client = self._under_way.get(flow.client_conn.id)
        if of_client is not None:
            of_client.pop(flow.id, None)
            if not of_client:
                del self._under_way[flow.client_conn.id]

    def client_gone(self, client: connection.Client) -> None:
        """A client has disconnected: in a moment nothing of its requests is under way. mitmproxy tells so of each, but for those
        that still waited for a connection to a server."""
        if client.id in self._under_way:
            farewell = asyncio.create_task(self._end_all(client.id))
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)

    async def _end_all(self, client_id: str) -> None:
        await asyncio.sleep(FAREWELL_S)
        for flow in list(self._under_way.get(client_id, {}).values()):
            try:
                await self.error(flow)
            except Exception:
                logger.exception("the end of a request could not be recorded")

    def connected(self, server: connection.Server) -> None:
        """mitmproxy has connected to a server."""
        self._upstream[server.id] = self._loops.own.opened(server.sockname, server.peername)

    def disconnected(self, server: connection.Server) -> None:
        """That connection has ended."""
        self._loops.own.closed(self._upstream.pop(server.id, None))

    async def find_loops(self) -> list[str]:
        """For the start, when the listener is open: what is wrong with each origin that is ourselves."""
        return await self._loops.check_all()

    def answer_at_hand(self, flow: http.HTTPFlow) -> None:
        """The request is complete: answer it from memory where that is possible.

        Not before: HTTP/2 may send a body that it did not announce, and mitmproxy can take an answer only from us or by streaming.
        """
        followed = flow.metadata.get(METADATA_KEY)
        if followed is None or flows.is_streamed(flow):
            return
        request_id = new_request_id()
        answer = followed.at_hand or self._absence_at_hand(followed, request_id)
        if answer is None:
            return
        followed.route = Route.MEMORY
        self._answered(followed)
        if answer.record is not None:
            self._freshness.served(answer.record)
        headers = [
            *answer.headers,
            ("x-amz-request-id", request_id),
            ("date", format_http_date(int(time.time()))),
        ]
        flows.answer(flow, answer.status, headers, answer.body)

    def _absence_at_hand(self, followed: _Followed, request_id: str) -> AtHand | None:
        """The answer that a key is not there, where the origin said so a moment ago. Such a flow is addressed to the origin, and
        goes there should the answer have been forgotten since."""
        key, bucket = followed.absent_key, followed.bucket
        if key is None or bucket is None or not self._absent.is_known(bucket.name, key, anonymous=True):
            return None
        return no_such_key_at_hand(followed.seen, key, request_id=request_id)

    def response_headers(self, flow: http.HTTPFlow) -> None:
        """Let the body stream, unless its end decides about a write; then it is small and waits for the end."""
        followed = flow.metadata.get(METADATA_KEY)
        if followed is None or flow.response is None or followed.route is Route.MEMORY:
            return
        self._answered(followed)
        if followed.route is not Route.SERVICE:
            self._tell_pages(flow.response, followed)
        passage = followed.passage
        flow.response.stream = passage is None or passage.write is None
        if followed.handed is not None and followed.handed.length is not None:
            flows.take_over_body(flow.response, followed.handed.length, followed.handed.take)
            followed.handed.begin()
        if passage is not None:
            self._passages.answered(passage, flow.response.status_code, flow.response.headers.get("etag"))
        if followed.absent_key is not None and followed.bucket is not None:
            self._absent.answered(
                followed.question,
                followed.bucket.name,
                followed.absent_key,
                anonymous=True,
                status=flow.response.status_code,
                headers=[(name.lower(), value) for name, value in flows.headers_of(flow.response)],
            )
        if followed.route is not Route.SERVICE:
            self._end_redirect_to_us(flow, followed)

    async def response(self, flow: http.HTTPFlow) -> None:
        """The exchange is complete."""
        followed = flow.metadata.pop(METADATA_KEY, None)
        if followed is not None:
            self._ended(flow, followed)
        if followed is None or flow.response is None:
            return
        if followed.passage is not None:
            body = b"" if flow.response.stream else flow.response.raw_content or b""
            await self._passages.end(followed.passage, flow.response.status_code, body)
        self._log(followed, str(flow.response.status_code))

    async def error(self, flow: http.HTTPFlow) -> None:
        """The exchange broke off: nobody knows what the origin made of a write."""
        followed = flow.metadata.pop(METADATA_KEY, None)
        if followed is None:
            return
        self._ended(flow, followed)
        if followed.passage is not None:
            await self._passages.end(followed.passage, None, b"")
        self._log(followed, "broken off")

    def _end_redirect_to_us(self, flow: http.HTTPFlow, followed: _Followed) -> None:
        """An origin that sends the client to where it came from would have it go round and round."""
        response = flow.response
        if response is None:
            return
        scheme = flows.client_scheme(flow)
        if self._loops.sends_back(followed.seen, scheme, response.status_code, response.headers.get("location")):
            logger.error(
                "bucket %s: its origin redirects clients back to tgstore", followed.bucket and followed.bucket.name
            )
            flows.replace_answer(flow, loop_error(), request_id=new_request_id())

    def _tell_pages(self, response: http.Response, followed: _Followed) -> None:
        """Cross-origin headers of the settings, in place of those of the origin whose answer passes by."""
        origin = next((value for name, value in followed.seen.headers if name == "origin"), None)
        if origin is None or followed.bucket is None or followed.bucket.policy.passes_through:
            return
        headers = Cors.passing_by(followed.bucket, origin, followed.seen.method, flows.headers_of(response))
        if headers is not None:
            flows.replace_headers(response, headers)

    def _send_to_origin(self, flow: http.HTTPFlow, routing: Routing) -> None:
        assert routing.addressed is not None  # noqa: S101 -- only addressed requests are routed to an origin
        origin = routing.addressed.bucket.origin
        assert origin is not None  # noqa: S101 -- see routes.decide
        if routing.route is Route.ORIGIN_UNTOUCHED:
            flows.send_to_origin_untouched(flow, origin)
        else:
            flows.send_to_origin_anonymous(flow, origin, routing.addressed.target.raw_key)

    def _log(self, followed: _Followed, outcome: str) -> None:
        """One line a request, in ASCII, without its query: a presigned one is a credential."""
        seen = followed.seen
        access_log.info(
            "%s %s %s %s %.1f ms",
            seen.method,
            f"{seen.host}{seen.raw_path}".encode("unicode_escape").decode("ascii"),
            outcome,
            followed.route.value,
            1000 * (self._monotonic_s() - followed.started_s),
        )


def _may_be_absent(routing: Routing, seen: Seen) -> bool:
    """Whether a stranger asks for a key of which we know nothing, and not for a page, whose answer has headers of its own."""
    if routing.claim is not Claim.ANONYMOUS or routing.state is not None or routing.addressed is None:
        return False
    if any(name == "origin" for name, _ in seen.headers):
        return False
    return is_plain_read(routing.addressed.target, seen.raw_query, seen.headers)


def _without_body(seen: Seen) -> S3Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    return S3Request("", seen.method, seen.raw_path, seen.raw_query, seen.headers, receive)
