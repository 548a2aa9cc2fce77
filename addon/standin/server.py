"""`StandIn`: the server as an object. It listens on loopback, keeps its world in a folder and survives a restart."""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from addon.standin.answers import failure
from addon.standin.api import Api
from addon.standin.bots import Bots
from addon.standin.chats import ChatSpec
from addon.standin.connection import ClientGone, Connection, RequestHead
from addon.standin.control_port import ControlPort
from addon.standin.delivery import deliver
from addon.standin.desk import Desk
from addon.standin.downloads import Downloads
from addon.standin.exchange import Exchange
from addon.standin.failures import ApiError, BareError
from addon.standin.faults import Faults
from addon.standin.limits import Limits
from addon.standin.lock import FolderLock
from addon.standin.log import Log
from addon.standin.switches import Switches
from addon.standin.world import World

DEFAULT_BOTS = ("123456:stand-in-token-of-the-first-bot", "654321:stand-in-token-of-the-second-bot")
DEFAULT_CHATS = (ChatSpec(-1001234567890, "channel", "Storage"),)
STREAM_BUFFER_BYTES = 1024 * 1024
STOP_S_MAX = 5.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")

_Serve = Callable[[Connection, RequestHead], Awaitable[None]]


class StandIn:
    """A Bot API server for tests and demonstrations: `async with StandIn(folder) as standin: ... standin.url ...`.

    `port` and `control_port` 0 mean any free one, `control_port` None means that there is none. `bots` are tokens; `chats` are
    made when the folder does not hold them yet. `clock` gives UNIX seconds, and the control port may only move it forward;
    `sleep` is used where a fault (or the switch `throttle_delay`) asks for real time. `seed` decides the file_ids of a new folder
    and every fault that is left to chance.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        control_port: int | None = 0,
        bots: Sequence[str] = DEFAULT_BOTS,
        chats: Sequence[ChatSpec | str] = DEFAULT_CHATS,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        seed: int = 0,
        switches: Switches | None = None,
    ) -> None:
        if host not in _LOOPBACK:
            raise ValueError(f"the stand-in listens on loopback only, not on {host!r}")
        self.folder = Path(folder)
        self.switches = switches or Switches()
        self.crashes: list[str] = []
        self._host, self._port, self._control_port = host, port, control_port
        self._tokens = tuple(bots)
        self._chats = tuple(ChatSpec.parse(chat) if isinstance(chat, str) else chat for chat in chats)
        self._bots = Bots(bots)
        self._base_clock, self._sleep, self._seed = clock, sleep, seed
        self._offset_s = 0.0
        self._worlds: tuple[World, World] | None = None
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._url = self._control_url = ""
        self._desk: Desk | None = None
        self._lock: FolderLock | None = None

    @property
    def url(self) -> str:
        """The base of the API, without a slash at its end, in the place of https://api.telegram.org."""
        return self._url

    @property
    def control_url(self) -> str:
        """The base of the control port for `control.Control`; empty where there is none."""
        return self._control_url

    @property
    def control(self) -> Desk:
        """The orders of the control port, to be given within this process."""
        if self._desk is None:
            raise RuntimeError("the stand-in is not running")
        return self._desk

    def now(self) -> float:
        """The server's clock in UNIX seconds."""
        return self._base_clock() + self._offset_s

    async def start(self) -> None:
        """Open the folder and listen. Raises OSError where the port is taken or another stand-in uses the folder."""
        self._lock = FolderLock(self.folder)
        try:
            main, test = World(self.folder, seed=self._seed), World(self.folder / "test", seed=self._seed + 1)
            self._worlds = (main, test)
            self._offset_s = main.clock_offset_s
            for world in self._worlds:
                world.populate(self._chats, self.now())
            exchange, self._desk = self._compose(main, test)
            self._url = await self._listen(self._port, exchange.run)
            if self._control_port is not None:
                self._control_url = await self._listen(self._control_port, ControlPort(self._desk).run)
        except BaseException:
            await self.stop()
            raise

    def _compose(self, main: World, test: World) -> tuple[Exchange, Desk]:
        """Everything that serves requests about these two worlds, and what takes orders about the first."""
        faults, log, downloads = Faults(self._seed), Log(), Downloads(self._bots, self.switches)
        api = Api(
            bots=self._bots, switches=self.switches, limits=Limits(self.switches), clock=self.now, sleep=self._sleep
        )
        exchange = Exchange(
            worlds=(main, test),
            api=api,
            downloads=downloads,
            faults=faults,
            log=log,
            switches=self.switches,
            clock=self.now,
            sleep=self._sleep,
        )

        def reset() -> None:
            for world in (main, test):
                world.reset()
                world.populate(self._chats, self.now())
            api.limits = Limits(self.switches)
            faults.clear()
            log.clear()
            downloads.clear()
            self._bots.revive_all()

        desk = Desk(
            world=main,
            bots=self._bots,
            faults=faults,
            log=log,
            clock=self.now,
            advance=self._advance,
            reset=reset,
            wake=api.pollers.wake,
        )
        return exchange, desk

    def _advance(self, seconds: float) -> None:
        self._offset_s += seconds
        if self._worlds is not None:
            self._worlds[0].clock_offset_s = self._offset_s

    async def _listen(self, port: int, serve: _Serve) -> str:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is None:
                raise RuntimeError("a connection is served in a task")
            self._connections.add(task)
            try:
                await self._serve_connection(Connection(reader, writer, self.now), serve)
            except asyncio.CancelledError:
                # Only `stop` cancels a connection; it has ended by itself then, and asyncio shall not report it.
                return
            finally:
                self._connections.discard(task)
                writer.transport.abort()

        server = await asyncio.start_server(connected, self._host, port, limit=STREAM_BUFFER_BYTES)
        self._servers.append(server)
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{server.sockets[0].getsockname()[1]}"

    async def _serve_connection(self, connection: Connection, serve: _Serve) -> None:
        """Requests one after another until the connection is not to be used again."""
        try:
            while head := await connection.next_head():
                try:
                    await serve(connection, head)
                except (BareError, ClientGone):
                    raise
                except Exception:  # noqa: BLE001 - the outermost handler: an answer to the client, the traceback kept for the test
                    self.crashes.append(traceback.format_exc())
                    await deliver(connection, failure(ApiError(500, "Internal Server Error")), head_only=False)
                    break
                if not connection.reusable:
                    break
            await connection.close()
        except BareError as error:
            with suppress(ClientGone):
                await connection.refuse(error.status)
        except ClientGone:
            # Nobody is there to be told; the transport is closed by whoever opened it.
            return

    async def stop(self) -> None:
        """Stop listening, end every connection, and close the folder. Harmless when it was stopped already."""
        for server in self._servers:
            server.close()
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        if connections:
            await asyncio.wait(connections, timeout=STOP_S_MAX)
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()
        for world in self._worlds or ():
            world.close()
        if self._lock is not None:
            self._lock.release()
        self._worlds = self._desk = self._lock = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
