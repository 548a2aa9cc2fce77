"""Fail closed: whatever breaks within us, and wherever, no request for one of our hosts goes on upstream by itself."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from mitmproxy import exceptions, http
from mitmproxy.proxy import mode_specs
from mitmproxy.test import taddons, tflow

from addon.composition import compose
from addon.config import load_config
from addon.proxy import flows, gateway, hooks
from addon.proxy.gateway import Gateway
from addon.s3.errors import S3Error
from addon.service.app import ObjectService
from addon.service.origin_writes import OriginWrites
from addon.store.ports import IndexUnavailable, WriteOutcome

# One gateway serves all of these tests, so they run on its event loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
[telegram]
api_url = "http://127.0.0.1:1"
bot_tokens = ["123456:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
chat_ids = [-1001234567890]
[index]
url = "sqlite:///tgstore.db"
[cache]
dir = "cache"
[[buckets]]
name = "images"
hosts = ["img.test"]
path_hosts = ["s3.test"]
credentials = [{ access_key_id = "AKKNOWN", secret_access_key = "a-secret-of-the-tests" }]
[buckets.origin]
endpoint = "http://origin.test"
bucket = "real"
region = "eu-central-1"
addressing = "path"
"""
UPSTREAM = ("upstream.test", 8080)
AUTHORIZATION = "AWS4-HMAC-SHA256 Credential={}/20260101/x/s3/aws4_request, SignedHeaders=host, Signature=0"
STRANGER = (("authorization", AUTHORIZATION.format("AKSTRANGER")),)
KNOWN = (("authorization", AUTHORIZATION.format("AKKNOWN")), ("expect", "100-continue"))


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """The real thing, with a Telegram and an origin that are not there."""
    folder = tmp_path_factory.mktemp("whole")
    with contextlib.chdir(folder):
        (folder / "config.toml").write_text(CONFIG)
        made = await compose(load_config(folder / "config.toml", {}))
        yield made
        await made.stop()


@pytest.fixture
def addon(whole: Gateway) -> hooks.Tgstore:
    """Running."""
    return ready(whole)


def ready(made: Gateway | None, config: Any = None) -> hooks.Tgstore:
    async def never(_config: object) -> Gateway:
        raise AssertionError

    tgstore = hooks.Tgstore(never)
    tgstore._gateway, tgstore._config = made, config
    return tgstore


def a_flow(
    method: str = "GET",
    path: str = "/k",
    *fields: tuple[str, str],
    host: str = "img.test",
    mode: str = "reverse:http://u",
) -> http.HTTPFlow:
    flow = tflow.tflow(resp=False)
    headers = http.Headers([(name.encode(), value.encode()) for name, value in (("host", host), *fields)])
    flow.request = http.Request(
        *UPSTREAM, method.encode(), b"http", b"", path.encode(), b"HTTP/1.1", headers, None, None, 0.0, None
    )
    flow.client_conn.proxy_mode = mode_specs.ProxyMode.parse(mode)
    flow.live = True
    return flow


def where(flow: http.HTTPFlow) -> tuple[str, int] | int | str:
    """Where the flow goes: an address, the status of an answer, or "killed"."""
    if flow.error is not None:
        return flow.error.msg and "killed"
    if flow.response is not None:
        return flow.response.status_code
    return flow.request.host, flow.request.port


# --- The switch breaks

LARGE = ("content-length", "300000000")
REQUESTS = {
    "anonymous read": ("GET", "/k"),
    "anonymous write": ("PUT", "/k", LARGE),
    "stranger's read": ("GET", "/k", *STRANGER),
    "stranger's write": ("PUT", "/k", LARGE, *STRANGER),
    "stranger's delete": ("DELETE", "/k", *STRANGER),
    "known key's write": ("PUT", "/k", LARGE, *KNOWN),
}
FAILURES = [RuntimeError("defect"), IndexUnavailable("the disk is full"), S3Error("InvalidURI", "no"), KeyError("x")]
STAGES: dict[str, tuple[Any, str, set[str]]] = {
    "well-formedness": (flows, "check_well_formed", set(REQUESTS)),
    "host lookup": (flows, "hosts", set(REQUESTS)),
    "framing": (flows, "frame_body", set(REQUESTS)),
    "reading the flow": (flows, "seen", set(REQUESTS)),
    "whose host": (gateway.Switch, "is_ours", set(REQUESTS)),
    "route": (gateway.Switch, "route", set(REQUESTS)),
    "begin of a write": (OriginWrites, "begin", {"anonymous write", "stranger's write", "stranger's delete"}),
    "begin of a passage": (gateway.Passages, "begin", set(REQUESTS) - {"known key's write"}),
    "to the origin, signed": (
        flows,
        "send_to_origin_untouched",
        {"stranger's read", "stranger's write", "stranger's delete"},
    ),
    "to the origin, anonymous": (flows, "send_to_origin_anonymous", {"anonymous read", "anonymous write"}),
    "hint about the body": (ObjectService, "would_refuse", {"known key's write"}),
}


def raising(failure: Exception) -> Callable[..., Any]:
    def fail(*_given: object, **_named: object) -> Any:
        raise failure

    return fail


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize(("stage", "name"), [(stage, name) for stage in STAGES for name in sorted(STAGES[stage][2])])
async def test_request_goes_to_the_object_service_where_the_switch_breaks(
    addon: hooks.Tgstore, whole: Gateway, monkeypatch: pytest.MonkeyPatch, stage: str, name: str, failure: Exception
) -> None:
    owner, function, _ = STAGES[stage]
    monkeypatch.setattr(owner, function, raising(failure))
    flow = a_flow(*REQUESTS[name])
    await addon.requestheaders(flow)
    assert where(flow) == whole.service_address
    assert flow.request.stream
    assert "expect" not in flow.request.headers
    assert flow.request.headers["host"] == "img.test"


@pytest.mark.parametrize("name", REQUESTS)
async def test_request_ends_where_not_even_the_object_service_can_be_given_it(
    addon: hooks.Tgstore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(flows, "send_to_service", raising(RuntimeError("defect")))
    monkeypatch.setattr(gateway.Switch, "route", raising(RuntimeError("defect")))
    flow = a_flow(*REQUESTS[name])
    await addon.requestheaders(flow)
    assert where(flow) == "killed"


async def test_read_that_cannot_be_answered_from_memory_goes_to_the_object_service(
    addon: hooks.Tgstore, whole: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gateway, "answer_at_hand", raising(RuntimeError("defect")))
    flow = a_flow("GET", "/k", *KNOWN)
    await addon.requestheaders(flow)
    addon.request(flow)
    assert where(flow) == whole.service_address


@pytest.mark.parametrize("hook", ["responseheaders", "response"])
async def test_answer_that_cannot_be_followed_never_reaches_the_client(
    addon: hooks.Tgstore, whole: Gateway, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    flow = a_flow("PUT", "/k", LARGE, *STRANGER)
    await addon.requestheaders(flow)
    flow.response = http.Response.make(200)
    owner, function = (gateway.Passages, "answered") if hook == "responseheaders" else (OriginWrites, "end")
    monkeypatch.setattr(owner, function, raising(IndexUnavailable("the disk is full")))
    await getattr(addon, hook)(flow)
    assert where(flow) == "killed"


async def test_failure_that_cannot_be_recorded_is_logged_and_raises_nothing(
    addon: hooks.Tgstore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flow = a_flow("PUT", "/k", LARGE, *STRANGER)
    await addon.requestheaders(flow)
    monkeypatch.setattr(OriginWrites, "end", raising(IndexUnavailable("the disk is full")))
    await addon.error(flow)
    assert "the failure of a request could not be recorded" in caplog.text


# --- Passages end once, with what is known


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"", WriteOutcome.ACCEPTED),
        (204, b"", WriteOutcome.ACCEPTED),
        (200, b"<Error><Code>InternalError</Code></Error>", WriteOutcome.REFUSED),
        (403, b"", WriteOutcome.REFUSED),
        (307, b"", WriteOutcome.REFUSED),
        (None, b"", WriteOutcome.UNKNOWN),
    ],
)
async def test_write_past_us_ends_once(
    addon: hooks.Tgstore, monkeypatch: pytest.MonkeyPatch, status: int | None, body: bytes, outcome: WriteOutcome
) -> None:
    ended = []

    async def end(_self: OriginWrites, _write: object, told: WriteOutcome) -> None:
        ended.append(told)

    monkeypatch.setattr(OriginWrites, "end", end)
    flow = a_flow("PUT", "/k", LARGE, *STRANGER)
    await addon.requestheaders(flow)
    if status is not None:
        flow.response = http.Response.make(status, body)
        await addon.responseheaders(flow)
        assert not flow.response.stream
        await addon.response(flow)
    await addon.error(flow)
    assert ended == [outcome]


# --- Starting, and other people's hosts


@pytest.mark.parametrize("host", ["img.test", "IMG.test:80", "s3.test"])
@pytest.mark.parametrize(("method", "body"), [("GET", 0), ("HEAD", 0), ("PUT", 0), ("PUT", 1000)])
async def test_request_while_starting_is_told_to_come_back(
    config_path: Path, host: str, method: str, body: int
) -> None:
    addon = ready(None, load_config(config_path, {}))
    flow = a_flow(method, "/k", ("content-length", str(body)), ("expect", "100-continue"), host=host)
    await addon.requestheaders(flow)
    assert where(flow) == 503
    assert flow.response is not None
    assert flow.response.headers["retry-after"] == "1"
    assert (b"ServiceUnavailable" in (flow.response.raw_content or b"")) == (method != "HEAD")
    assert "expect" not in flow.request.headers


@pytest.mark.parametrize("framing", [LARGE, ("transfer-encoding", "chunked")])
async def test_large_body_while_starting_is_not_waited_for(config_path: Path, framing: tuple[str, str]) -> None:
    addon = ready(None, load_config(config_path, {}))
    flow = a_flow("PUT", "/k", framing)
    await addon.requestheaders(flow)
    assert where(flow) == "killed"


async def test_nothing_passes_before_there_are_settings() -> None:
    flow = a_flow(host="anything.test")
    await ready(None).requestheaders(flow)
    assert where(flow) == 503


@pytest.mark.parametrize("started", [True, False])
async def test_other_hosts_are_left_alone(whole: Gateway, config_path: Path, started: bool) -> None:
    addon = ready(whole if started else None, load_config(config_path, {}))
    flow = a_flow("PUT", "/k", LARGE, ("expect", "100-continue"), host="other.test", mode="regular")
    before = flow.request.copy()
    await addon.requestheaders(flow)
    addon.request(flow)
    assert where(flow) == UPSTREAM
    assert flow.request.headers == before.headers
    assert not flow.request.stream
    flow.response = http.Response.make(200, b"theirs")
    await addon.responseheaders(flow)
    await addon.response(flow)
    assert (flow.response.status_code, flow.response.stream, flow.error) == (200, False, None)


@pytest.mark.parametrize("done", ["answered", "failed", "replayed"])
async def test_flow_that_is_decided_is_left_alone(addon: hooks.Tgstore, done: str) -> None:
    flow = a_flow()
    if done == "answered":
        flow.response = http.Response.make(418)
    elif done == "failed":
        flow.error = tflow.terr("broken")
    else:
        flow.live = False
    await addon.requestheaders(flow)
    assert (flow.request.host, flow.request.port) == UPSTREAM


# --- Settings


@pytest.fixture
def wrong_config_path(config_path: Path) -> Path:
    config_path.write_text(CONFIG.replace('"path"', '"sideways"'))
    return config_path


async def test_wrong_setting_is_logged_as_an_error_without_the_secret(
    wrong_config_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    addon = ready(None)
    with taddons.context() as context:
        context.options.add_option(hooks.OPTION, str, str(wrong_config_path), "")
        addon.configure(set())
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "sideways" in errors[0]
    assert "a-secret-of-the-tests" not in caplog.text


async def test_settings_cannot_change_while_running(config_path: Path) -> None:
    addon = ready(None, load_config(config_path, {}))
    with taddons.context() as context:
        context.options.add_option(hooks.OPTION, str, str(config_path), "")
        addon.configure({"listen_port"})
        with pytest.raises(exceptions.OptionsError, match=hooks.OPTION):
            addon.configure({hooks.OPTION})
