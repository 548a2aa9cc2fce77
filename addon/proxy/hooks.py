"""The addon as mitmproxy sees it.

mitmproxy logs an exception of a hook and lets the flow go on upstream: fail-open. So each hook's outermost layer catches
everything, and then the object service, which trusts nobody, or a refusal gets the flow.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from mitmproxy import ctx, exceptions, http
from mitmproxy.addonmanager import Loader
from mitmproxy.connection import Client
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from addon.config import Config, ConfigError, find_config_path, load_config
from addon.proxy import flows, lean
from addon.proxy.commands import Commands, ReadStatus
from addon.proxy.gateway import Gateway
from addon.proxy.loops import Looping, loop_error
from addon.proxy.settings_watch import SettingsWatch
from addon.s3.errors import S3Error
from addon.service.buckets import host_name
from addon.service.request import new_request_id
from addon.store.ports import StoreError

logger = logging.getLogger(__name__)

OPTION = "tgstore_config"
# Set by us, so that `mitmdump -s addon/tgstore.py` needs no further flag. `Host` is part of every signature; the origin may be
# down, so nothing may depend on connecting to it first; what mitmproxy buffers for an answer of ours stays below 1 MiB; and a
# message whose framing two readers could understand differently goes no further.
REQUIRED_OPTIONS: dict[str, object] = {
    "keep_host_header": True,
    "connection_strategy": "lazy",
    "upstream_cert": False,
    "stream_large_bodies": "1m",
    "validate_inbound_headers": True,
    "flow_detail": 0,
}
STOP_S_MAX = 10.0


class Tgstore:
    """Load with `mitmdump -s addon/tgstore.py`. `compose` makes and starts the gateway from the settings; `read_status` tells
    where buckets stand."""

    name = "tgstore"

    def __init__(self, compose: Callable[[Config], Awaitable[Gateway]], read_status: ReadStatus | None = None) -> None:
        self._compose = compose
        # mitmproxy loads what an addon calls its addons with it.
        self.addons = [] if read_status is None else [Commands(lambda: self._config, read_status)]
        self._gateway: Gateway | None = None
        self._stopping: Gateway | None = None
        self._config: Config | None = None
        self._path: Path | None = None
        self._watch: SettingsWatch | None = None
        self._starting: asyncio.Task[None] | None = None

    def load(self, loader: Loader) -> None:
        """Declare the option and set the ones that we need."""
        loader.add_option(
            OPTION, str, "", "The configuration file; else TGSTORE_CONFIG, else config.toml in this folder."
        )
        ctx.options.update(**REQUIRED_OPTIONS)

    def configure(self, updated: set[str]) -> None:
        """Read the settings. A wrong one ends mitmdump with exit status 1.

        It is logged, not raised: mitmproxy ends at its start where an error was logged, and would print a traceback around an
        exception. Should it go on nevertheless, there are no settings, and every request is refused.
        """
        if OPTION not in updated and self._config is not None:
            return
        if self._config is not None:
            raise exceptions.OptionsError(f"{OPTION} cannot be changed while tgstore runs; start it anew.")
        try:
            self._path = find_config_path(getattr(ctx.options, OPTION) or None, os.environ, Path.cwd())
            self._config = load_config(self._path, os.environ)
        except ConfigError as error:
            logger.error("%s", error)

    def running(self) -> None:
        """Start the object service and the workers; until they stand, requests for our hosts are refused with 503."""
        ctx.options.update(**REQUIRED_OPTIONS)
        if all(mode.startswith("reverse:") for mode in ctx.options.mode):
            # A site's visitors come from public addresses. A regular proxy keeps mitmproxy's guard against being an open one.
            ctx.options.update(block_global=False)
        if self._config is None:
            return
        lean.remove_unneeded_addons()
        lean.quieten_logs()
        self._starting = asyncio.ensure_future(self._start())

    async def _start(self) -> None:
        assert self._config is not None and self._path is not None  # noqa: S101, PT018 -- mitmproxy configures before it runs
        try:
            self._gateway = await self._compose(self._config)
        except Exception as failure:
            logger.exception("tgstore could not start")
            # From a task, SystemExit ends the event loop and with it mitmdump.
            raise SystemExit(1) from failure
        await self._refuse_loops(self._gateway)
        self._watch = SettingsWatch(self._path, os.environ, self._config, self._gateway.take_over)
        self._watch.start()

    async def _refuse_loops(self, gateway: Gateway) -> None:
        """An origin that is ourselves ends the start. Requests are answered meanwhile: one of them is our own question."""
        try:
            found = await gateway.find_loops()
        except Exception:  # the guard at run time stays
            logger.exception("whether an origin is tgstore itself could not be asked")
            return
        if not found:
            return
        for message in found:
            logger.error("%s", message)
        self._gateway = None
        await asyncio.wait_for(gateway.stop(), STOP_S_MAX)
        raise SystemExit(1)

    def server_connected(self, data: ServerConnectionHookData) -> None:
        """Our own connections are known, so that a request over one of them is known as ours."""
        if self._gateway is not None:
            self._gateway.connected(data.server)

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        """One less."""
        if self._gateway is not None:
            self._gateway.disconnected(data.server)

    def client_disconnected(self, client: Client) -> None:
        """What it waited for is over, also where no other hook says so."""
        if self._gateway is not None:
            self._gateway.client_gone(client)

    async def done(self) -> None:
        """Stop: requests under way get a moment, jobs stay in the index."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting}, timeout=STOP_S_MAX)
        if self._watch is not None:
            await self._watch.stop()
        # What is being answered is answered to its end, so its headers are still to be looked at.
        gateway = self._stopping = self._gateway
        self._gateway = None
        if gateway is not None:
            await asyncio.wait_for(gateway.stop(), STOP_S_MAX)

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Decide where the request goes."""
        if flow.response or flow.error or not flow.live:
            return
        try:
            flows.check_well_formed(flow)
            await self._route(flow)
        except Looping:
            logger.warning("a request that came from tgstore itself, or would come back to it, was refused")
            flows.refuse(flow, loop_error(), request_id=new_request_id())
        except flows.Malformed:
            logger.info("a request that would not stay one HTTP/1.1 message was dropped")
            flow.kill()
        except Exception as failure:  # noqa: BLE001 -- fail closed: see the module's docstring
            self._fail_closed(flow, failure)

    async def _route(self, flow: http.HTTPFlow) -> None:
        gateway = self._gateway
        if gateway is None:
            if self._config is None or self._is_ours_by_settings(flow):
                raise S3Error("ServiceUnavailable", "tgstore is starting.", headers={"Retry-After": "1"})
            return
        await gateway.route(flow)

    def _is_ours_by_settings(self, flow: http.HTTPFlow) -> bool:
        assert self._config is not None  # noqa: S101 -- the caller has looked
        names = {host_name(host) for host in flows.hosts(flow)}
        return any(not names.isdisjoint((*bucket.hosts, *bucket.path_hosts)) for bucket in self._config.buckets)

    def _fail_closed(self, flow: http.HTTPFlow, failure: Exception) -> None:
        """Let the object service say what is wrong, in S3's terms; without one, refuse here. Never let the flow go on."""
        try:
            if not isinstance(failure, S3Error | StoreError):
                logger.error("the switch failed", exc_info=failure)
            if self._gateway is not None:
                flows.forget_expectation(flow)
                flows.send_to_service(flow, self._gateway.service_address)
                return
            error = failure if isinstance(failure, S3Error) else S3Error("InternalError", "tgstore failed.")
            flows.refuse(flow, error, request_id=new_request_id())
        except Exception:
            logger.exception("a request could not even be refused; its connection ends")
            flow.kill()

    def request(self, flow: http.HTTPFlow) -> None:
        """Answer what is at hand."""
        if flow.response or flow.error or self._gateway is None:
            return
        try:
            self._gateway.answer_at_hand(flow)
        except Exception:  # the flow is on its way to the object service, and goes there
            logger.exception("a request could not be answered from memory")

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Let the body stream; learn from the origin's answer."""
        try:
            gateway = self._gateway or self._stopping
            if gateway is not None:
                gateway.response_headers(flow)
        except Exception:
            logger.exception("the answer to a request could not be followed")
            flow.kill()

    async def response(self, flow: http.HTTPFlow) -> None:
        """The exchange is complete; a write at the origin is recorded before the client hears of it."""
        try:
            if self._gateway is not None:
                await self._gateway.response(flow)
        except Exception:
            logger.exception("the end of a request could not be recorded")
            flow.kill()

    async def error(self, flow: http.HTTPFlow) -> None:
        """The exchange broke off.

        Where the origin could not be reached mitmproxy sends a page of its own (502): it takes no answer from this hook, because
        what we let stream is beyond the point where an addon may give one. SDKs try a 502 again as they do a 503.
        """
        try:
            if self._gateway is not None:
                await self._gateway.error(flow)
        except Exception:
            logger.exception("the failure of a request could not be recorded")
