"""getMe, tokens, logging out, and the single poller of getUpdates."""

import asyncio

import httpx
import pytest

from addon.standin.server import StandIn
from addon.standin.switches import Switches
from tests.standin.asking import Asker, executed, until
from tests.standin_fixture import BOT_A, BOT_A_ID, CHANNEL, PRIVATE, SettableClock


async def test_get_me_in_any_case(bot: Asker) -> None:
    for method in ("getMe", "GETME", "getme"):
        me = await bot.result(method)
    assert me["id"] == BOT_A_ID
    assert me["is_bot"] is True
    assert {"username", "can_join_groups", "can_read_all_group_messages", "supports_inline_queries"} <= set(me)


@pytest.mark.parametrize(
    ("token", "refusal"),
    [
        ("nocolon", (401, "Unauthorized: invalid token specified")),
        ("0123:x", (401, "Unauthorized: invalid token specified")),
        ("x:123", (401, "Unauthorized: invalid token specified")),
        ("1:" + "x" * 79, (401, "Unauthorized: invalid token specified")),
        ("999:unknown", (401, "Unauthorized")),
        (BOT_A + "x", (401, "Unauthorized")),
    ],
)
async def test_bad_tokens(standin: StandIn, http: httpx.AsyncClient, token: str, refusal: tuple[int, str]) -> None:
    assert await Asker(http, standin, token).refused("getMe") == refusal


class TestCloudAnswers:
    @pytest.fixture
    def switches(self) -> Switches:
        return Switches(cloud_404_for_malformed=True, bad_token_on_files=401)

    async def test_a_malformed_token_is_404_and_on_files_401(self, standin: StandIn, http: httpx.AsyncClient) -> None:
        stranger = Asker(http, standin, "nocolon")
        assert await stranger.refused("getMe") == (404, "Not Found")
        assert (await stranger.download("documents/file_0.bin")).status_code == 401


@pytest.mark.parametrize(
    ("method", "refusal"), [("logOut", (401, "Unauthorized")), ("close", (400, "Bad Request: logged out"))]
)
async def test_after_logging_out_nothing_works(bot: Asker, bot_b: Asker, method: str, refusal: tuple[int, str]) -> None:
    assert await bot.result(method) is True
    assert await bot.refused("getMe") == refusal
    await bot_b.result("getMe")


async def test_a_revoked_token(standin: StandIn, bot: Asker) -> None:
    standin.control.chat("revoke", bot_id=BOT_A_ID)
    assert await bot.refused("getMe") == (401, "Unauthorized")
    standin.control.chat("revive", bot_id=BOT_A_ID)
    await bot.result("getMe")


async def test_only_what_others_posted_is_an_update_and_only_for_a_day(
    standin: StandIn, bot: Asker, clock: SettableClock
) -> None:
    await bot.send()
    standin.control.chat("post", PRIVATE, text="old")
    clock.now += 24 * 3600
    for number in range(3):
        standin.control.chat("post", CHANNEL, text=str(number))
    updates = await bot.result("getUpdates")
    assert [update["channel_post"]["text"] for update in updates] == ["0", "1", "2"]
    offset = updates[1]["update_id"]
    assert [u["update_id"] for u in await bot.result("getUpdates", offset=offset, limit=1)] == [offset]
    assert len(await bot.result("getUpdates")) == 2, "the earlier one was confirmed by the offset"
    assert len(await bot.result("getUpdates", offset=-1)) == 1
    assert (await bot.result("getWebhookInfo"))["pending_update_count"] == 2
    assert await bot.result("deleteWebhook", drop_pending_updates=True) is True
    assert await bot.result("getUpdates") == []


async def test_a_second_poller_ends_the_first(standin: StandIn, bot: Asker) -> None:
    first = asyncio.create_task(bot.refused("getUpdates", timeout=50))
    await until(lambda: len(executed(standin)) == 1)
    second = asyncio.create_task(bot.result("getUpdates", timeout=50))
    assert await first == (
        409,
        "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
    )
    await until(lambda: len(executed(standin)) == 2)
    standin.control.chat("post", CHANNEL, text="news")
    assert [update["channel_post"]["text"] for update in await second] == ["news"]


async def test_unknown_methods_and_paths(standin: StandIn, bot: Asker, http: httpx.AsyncClient) -> None:
    assert await bot.refused("getNothing") == (404, "Not Found: method not found")
    for path in ("/", "/other", "/file/x", "/_ctl/state"):
        answer = await http.get(standin.url + path)
        assert (answer.status_code, answer.json()["description"]) == (404, "Not Found")
