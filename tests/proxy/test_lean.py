"""What is taken out of mitmproxy exists there under that name, and stays where the operator uses it."""

from __future__ import annotations

import asyncio
import logging

import pytest
from mitmproxy import options
from mitmproxy.tools.dump import DumpMaster

from addon.proxy import hooks, lean


@pytest.fixture
async def master() -> DumpMaster:
    return DumpMaster(options.Options(), loop=asyncio.get_running_loop(), with_termlog=False)


async def test_every_name_is_one_of_mitmproxys_addons(master: DumpMaster) -> None:
    assert set(lean.UNNEEDED) - set(master.addons.lookup) == set()


async def test_every_option_is_one_of_mitmproxys(master: DumpMaster) -> None:
    named = (
        {option for used in lean.UNNEEDED.values() for option in used} | set(hooks.REQUIRED_OPTIONS) | {"block_global"}
    )
    assert {option for option in named if option not in master.options} == set()


async def test_nothing_else_is_taken_out(master: DumpMaster) -> None:
    before = set(master.addons.lookup)
    removed = lean.remove_unneeded_addons()
    assert set(removed) == set(lean.UNNEEDED)
    assert set(master.addons.lookup) == before - set(lean.UNNEEDED)
    assert {"proxyserver", "tlsconfig", "nextlayer", "core", "block", "errorcheck"} <= set(master.addons.lookup)


@pytest.mark.parametrize(
    ("option", "value", "kept"),
    [
        ("block_list", ["/~q/404"], "blocklist"),
        ("modify_headers", ["/~q/a/b"], "modifyheaders"),
        ("map_remote", ["|a|b"], "mapremote"),
        ("stickycookie", ".", "stickycookie"),
        ("proxyauth", "any", "proxyauth"),
        ("hardump", "out.har", "savehar"),
        ("flow_detail", 4, None),
    ],
)
async def test_addon_stays_where_its_option_is_set(
    master: DumpMaster, option: str, value: object, kept: str | None
) -> None:
    master.options.update(**{option: value})
    removed = lean.remove_unneeded_addons()
    assert set(lean.UNNEEDED) - set(removed) == ({kept} if kept else set())


def test_logs_are_quietened(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in lean.CHATTY_LOGGERS:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    lean.quieten_logs()
    for name in lean.CHATTY_LOGGERS:
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
        assert logging.getLogger(name).isEnabledFor(logging.WARNING)
