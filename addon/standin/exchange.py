"""One request from its head to the end of its answer, with the faults that are ordered for it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from addon.standin.answers import Answer, failure, success
from addon.standin.api import Api, chat_number, twin_of
from addon.standin.arguments import parse_urlencoded, read_chat_id
from addon.standin.call import ForcedType
from addon.standin.connection import ClientGone, Connection, RequestHead
from addon.standin.delivery import deliver, deliver_spoilt, spoils_delivery
from addon.standin.downloads import Downloads
from addon.standin.effects import change_world
from addon.standin.failures import ApiError, BareError, fail
from addon.standin.faults import Action, Faults, Subject
from addon.standin.log import Entry, Log
from addon.standin.reception import Received, ReceptionLimits, UploadTooLarge, receive, too_large
from addon.standin.routes import Route, bot_id_of, find_route, verb_allowed
from addon.standin.spoil import replacement, without_field
from addon.standin.switches import Switches
from addon.standin.world import World

HANG_S_MAX = 3600.0
UPLOAD_RESET_BYTES = 64 * 1024


class _BrokenOff(Exception):
    """A fault has reset or closed the connection."""


@dataclass(slots=True)
class _Request:
    head: RequestHead
    route: Route
    received: Received
    entry: Entry

    @property
    def bot_id(self) -> int:
        return bot_id_of(self.route.token) or 0

    @property
    def block_key(self) -> tuple[int, int, str]:
        """Whom a 429 that a fault gave keeps waiting: this bot with this method in this chat."""
        return self.bot_id, chat_number(self.received) or 0, self.route.name


class Exchange:
    """`worlds` are the real one and the one of the test servers."""

    def __init__(
        self,
        *,
        worlds: tuple[World, World],
        api: Api,
        downloads: Downloads,
        faults: Faults,
        log: Log,
        switches: Switches,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._worlds = worlds
        self._api = api
        self._downloads = downloads
        self._faults = faults
        self._log = log
        self._switches = switches
        self._clock = clock
        self._sleep = sleep
        self._held_back: list[asyncio.Future[None]] = []

    async def run(self, connection: Connection, head: RequestHead) -> None:
        """Serve the request. Raises BareError and ClientGone for the connection's owner to deal with."""
        route = find_route(head.target)
        method = "download" if route.kind == "file" else route.name
        entry = self._log.begin(self._clock(), method, bot_id_of(route.token))
        try:
            await self._run(connection, head, route, entry)
        except _BrokenOff:
            entry.outcome = "reset"
        except ClientGone:
            entry.outcome = "gone"
            raise
        except BareError as error:
            entry.outcome, entry.status = "refused", error.status
            raise

    async def _run(self, connection: Connection, head: RequestHead, route: Route, entry: Entry) -> None:
        if not verb_allowed(head.method, route, head_support=self._switches.head_support):
            raise BareError(405 if head.method == "HEAD" and route.kind == "file" else 501)
        try:
            received = await self._receive(connection, head, route, entry)
        except UploadTooLarge:
            await self._send(connection, head, failure(too_large()), None, entry)
            return
        request = _Request(head, route, received, entry)
        try:
            place = {"file_path": route.name, "range": head.header("range")} if route.kind == "file" else {}
            entry.note_request({**received.arguments, **place}, received.files, received.body_bytes)
            answer, action = self._still_refused(request), None
            if answer is None:
                action = self._faults.match(Subject(entry.method, chat_number(received), received.body_bytes), "call")
                entry.fault = action.kind if action else entry.fault
                answer = await self._answer(connection, request, action)
        finally:
            received.discard()
        await self._send(connection, head, answer, action, entry)

    def _still_refused(self, request: _Request) -> Answer | None:
        """429 again while the wait that a fault asked for is not over; the repeated call uses up no further fault."""
        try:
            self._api.limits.check_block(*request.block_key, self._clock())
        except ApiError as error:
            request.entry.description = error.description
            return failure(error)
        return None

    async def _receive(self, connection: Connection, head: RequestHead, route: Route, entry: Entry) -> Received:
        chat_id = read_chat_id(dict(parse_urlencoded(route.query)).get("chat_id", ""))
        subject = Subject(entry.method, chat_id if isinstance(chat_id, int) else None, head.content_length)
        action = self._faults.match(subject, "head")
        progress = None
        if action is not None:
            entry.fault = action.kind
            if action.kind == "reset" and action["at"] == "request_headers":
                await _break_off(connection, action)
            progress = self._upload_fault(connection, action)
        limits = ReceptionLimits(
            upload_bytes_max=self._switches.upload_bytes_max,
            counts_body=self._switches.upload_limit_counts == "body",
            early=self._switches.oversize_answer == "early",
        )
        make_path = self._worlds[0].files.incoming_path
        return await receive(connection, head, route.query, limits=limits, make_path=make_path, on_progress=progress)

    def _upload_fault(self, connection: Connection, action: Action) -> Callable[[int], Awaitable[None]]:
        seen = 0

        async def progress(body_bytes: int) -> None:
            nonlocal seen
            if action.kind == "slow":
                await self._sleep((body_bytes - seen) / action["bytes_per_s"])
                seen = body_bytes
            elif action.kind == "http413":
                if body_bytes >= UPLOAD_RESET_BYTES:
                    connection.abort()
                    raise _BrokenOff
            elif body_bytes >= action["bytes"]:
                await _break_off(connection, action)

        return progress

    async def _answer(self, connection: Connection, request: _Request, action: Action | None) -> Answer:
        """The answer, after everything that the action does before it goes out."""
        if action is None:
            return await self._execute(request)
        if action.kind == "hang":
            return await self._hang(connection, request, action)
        replaced = replacement(action)
        breaks = action.kind == "reset" and action["at"] == "before_answer"
        if replaced is None and not breaks:
            return await self._execute_with(request, action)
        if action.after:
            await self._execute(request)
        if action.kind == "rate" and action["hold"]:
            self._api.limits.block(*request.block_key, action["retry_after"], self._clock())
        if replaced is None:
            await _break_off(connection, action)
            raise _BrokenOff
        return replaced

    async def _hang(self, connection: Connection, request: _Request, action: Action) -> Answer:
        """Say nothing for `seconds`, or for ever where they are null; the call is executed before or after that."""
        answer = await self._execute(request) if action.after else None
        seconds = action["seconds"]
        gone = await connection.wait_gone(HANG_S_MAX if seconds is None else min(seconds, HANG_S_MAX))
        if gone or seconds is None:
            connection.abort()
            raise _BrokenOff
        return answer or await self._execute(request)

    async def _execute(self, request: _Request, forced_type: ForcedType | None = None) -> Answer:
        route, entry = request.route, request.entry
        world = self._worlds[route.test]
        if route.kind == "none":
            return failure(ApiError(404, "Not Found"))
        if route.kind == "file":
            entry.executed += 1
            return self._downloads.answer(route, request.head, world, self._clock())
        try:
            answer = success(await self._api.execute(route, request.received, world, entry, forced_type))
        except ApiError as error:
            answer = failure(error)
            entry.description = error.description
        for future in self._held_back:
            if not future.done():
                future.set_result(None)
        return answer

    async def _execute_with(self, request: _Request, action: Action) -> Answer:
        """Execute the call under an action that changes the world, the call or the answer."""
        received = request.received
        change_world(
            action,
            self._worlds[request.route.test],
            bot_id=request.bot_id,
            chat_id=chat_number(received),
            received=received,
            now=self._clock(),
        )
        if action.kind == "as_type":
            return await self._execute(request, ForcedType(action["type"], action["replace_bytes"]))
        if action.kind == "duplicate":
            return await self._execute_twice(request)
        if action.kind == "reorder":
            await self._let_another_pass(action["wait_s"])
        answer = await self._execute(request)
        if action.kind == "drop_field":
            return without_field(answer, action["path"], action["value"])
        if action.kind == "path404":
            return self._miss_path(request, answer, action["times"])
        if action.kind == "invalid_file_id" and not action["permanent"]:
            return failure(fail(400, "invalid file_id"))
        return answer

    async def _execute_twice(self, request: _Request) -> Answer:
        twin = _Request(request.head, request.route, twin_of(request.received), request.entry)
        try:
            answer = await self._execute(request)
            await self._execute(twin)
        finally:
            twin.received.discard()
        return answer

    async def _let_another_pass(self, wait_s: float) -> None:
        """Wait until a later call has been executed, but no longer than `wait_s`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held_back.append(future)
        try:
            async with asyncio.timeout(wait_s):
                await future
        except TimeoutError:
            return
        finally:
            self._held_back.remove(future)

    def _miss_path(self, request: _Request, answer: Answer, times: int) -> Answer:
        """Let the path that getFile has just given fail `times` times; on the file host itself, fail at once."""
        if request.route.kind == "file":
            return failure(ApiError(404, "Not Found"))
        result = json.loads(answer.body).get("result")
        if isinstance(result, dict) and "file_path" in result:
            self._downloads.miss(request.bot_id, result["file_path"], times)
        return answer

    async def _send(
        self, connection: Connection, head: RequestHead, answer: Answer, action: Action | None, entry: Entry
    ) -> None:
        entry.status = answer.status
        if action is not None and spoils_delivery(action):
            await deliver_spoilt(connection, answer, action, self._sleep)
            entry.outcome = "reset" if action.kind == "reset" else "spoilt"
            return
        await deliver(connection, answer, head_only=head.method == "HEAD")
        entry.sent_bytes = answer.length
        entry.outcome = "answered"


async def _break_off(connection: Connection, action: Action) -> None:
    if action["how"] == "rst":
        connection.abort()
    else:
        await connection.close()
    raise _BrokenOff
