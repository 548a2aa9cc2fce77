"""`tgstore check`: each setting that works is found to work, each that does not is named with what to do about it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from addon.checks import check_all
from addon.config import Config, load_config
from addon.index.sql_index import open_index
from addon.standin.server import StandIn
from addon.store.probe import ProbeResult
from tests.service.fixtures import OriginServer
from tests.standin_fixture import BOT_A, CHANNEL, SettableClock, running_standin

NOW_S = 1_700_000_000.0
UNKNOWN_CHAT = -1009999999999


@pytest.fixture(scope="module")
def origin() -> Iterator[OriginServer]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    origin = OriginServer(server.get_host_and_port()[1])
    origin.begin()
    origin.put("old.png", b"old")
    yield origin
    origin.s3.close()
    server.stop()


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with running_standin() as standin:
        yield standin


def settings(folder: Path, standin: StandIn, origin: OriginServer, **changed: str) -> Config:
    values = {
        "token": BOT_A,
        "chat": str(CHANNEL),
        "index": "sqlite:///data/tgstore.db",
        "cache": "data/cache",
        "bucket": "images-there",
        "host": "images.example.invalid",
        "endpoint": f"http://127.0.0.1:{origin.port}",
        **changed,
    }
    path = folder / "config.toml"
    path.write_text(
        """
        [telegram]
        api_url = "{api_url}"
        bot_tokens = ["{token}"]
        chat_ids = [{chat}]
        [index]
        url = "{index}"
        [cache]
        dir = "{cache}"
        [[buckets]]
        name = "images"
        hosts = ["{host}"]
        credentials = [{{ access_key_id = "AKCLIENT", secret_access_key = "client-secret" }}]
        [buckets.origin]
        endpoint = "{endpoint}"
        bucket = "{bucket}"
        addressing = "path"
        access_key_id = "AKORIGIN"
        secret_access_key = "origin-secret"
        """.format(api_url=standin.url, **values)
    )
    return load_config(path, {})


def failures(results: list[ProbeResult]) -> list[ProbeResult]:
    return [result for result in results if not result.ok]


async def messages(standin: StandIn) -> list[str]:
    return [
        entry["method"]
        for entry in standin.control.log()
        if entry["method"].lower().startswith(("send", "edit", "pin"))
    ]


async def test_right_settings_are_all_found_right(tmp_path: Path, standin: StandIn, origin: OriginServer) -> None:
    results = await check_all(settings(tmp_path, standin, origin), telegram_writes=True)
    assert failures(results) == []
    told = "\n".join(f"{result.subject}: {result.detail}" for result in results)
    for subject in (
        "post",
        "pin",
        "edit",
        "delete",
        "clock",
        "index",
        "cache",
        "spool",
        "list",
        "read",
        "leads elsewhere",
    ):
        assert subject in told
    assert "of 3 bytes can be read" in told


async def test_without_writes_nothing_is_sent_to_telegram(
    tmp_path: Path, standin: StandIn, origin: OriginServer
) -> None:
    assert failures(await check_all(settings(tmp_path, standin, origin), telegram_writes=False)) == []
    assert await messages(standin) == []


async def test_a_retired_origin_is_not_asked(tmp_path: Path, standin: StandIn, origin: OriginServer) -> None:
    config = settings(tmp_path, standin, origin, endpoint="http://127.0.0.1:9")
    index = await open_index(config.index.url)
    await index.retire("images", now_s=1.0, leave_skipped=False)
    await index.close()
    results = await check_all(config, telegram_writes=False)
    assert failures(results) == []
    told = [result.detail for result in results if "origin of bucket images" in result.subject]
    assert told == ["retired: it is not asked any more"]


@pytest.mark.parametrize(
    ("changed", "subject", "advice"),
    [
        ({"token": "111111:wrong-token"}, "bot 111111", "BotFather"),
        ({"chat": str(UNKNOWN_CHAT)}, f"in chat {UNKNOWN_CHAT}", "add the bot to the chat"),
        ({"bucket": "not-there"}, "origin of bucket images: list", "origin.bucket"),
        ({"endpoint": "http://127.0.0.1:9"}, "origin of bucket images: list", "origin.endpoint"),
        ({"index": "sqlite:////dev/null/tgstore.db"}, "index.url", "writable"),
        ({"cache": "/dev/null/cache"}, "cache.dir", "writable"),
    ],
)
async def test_what_does_not_work_is_named_with_advice(
    changed: dict[str, str], subject: str, advice: str, tmp_path: Path, standin: StandIn, origin: OriginServer
) -> None:
    failed = failures(await check_all(settings(tmp_path, standin, origin, **changed), telegram_writes=True))
    assert failed
    for result in failed:
        assert subject in result.subject
        assert advice in result.advice
        for secret in (BOT_A.partition(":")[2], "wrong-token", "origin-secret", "client-secret"):
            assert secret not in f"{result.subject}{result.detail}{result.advice}"


async def test_a_wrong_clock_is_found(tmp_path: Path, origin: OriginServer) -> None:
    async with running_standin(clock=SettableClock(NOW_S)) as standin:
        failed = failures(await check_all(settings(tmp_path, standin, origin), telegram_writes=False))
    assert [result.subject for result in failed] == ["clock"]
    assert "second" in failed[0].detail or " s" in failed[0].detail


async def test_an_origin_whose_name_leads_to_our_own_address_is_found(
    tmp_path: Path, standin: StandIn, origin: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    repointed = {"images.example.invalid", "s3.example.invalid"}

    def resolve_repointed(host: str, *arguments: object, **options: object) -> object:
        return resolve("127.0.0.7" if host in repointed else host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve_repointed)
    config = settings(tmp_path, standin, origin, endpoint="http://s3.example.invalid")
    failed = failures(await check_all(config, telegram_writes=False))
    loop = [result for result in failed if result.subject == "origin of bucket images leads elsewhere"]
    assert len(loop) == 1
    assert "same address" in loop[0].detail
    assert "origin.endpoint" in loop[0].advice
