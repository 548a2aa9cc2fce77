"""mitmproxy's own commands, run as its console runs them: within its event loop."""

from __future__ import annotations

from pathlib import Path

import pytest
from mitmproxy import exceptions
from mitmproxy.test import taddons

from addon.composition import compose, read_status
from addon.config import load_config
from addon.index.sql_index import open_index
from addon.proxy import commands
from addon.proxy.hooks import Tgstore
from addon.store.migration import SweepOrder
from tests.proxy.test_hooks import CONFIG


@pytest.fixture
def loaded(tmp_path: Path) -> Tgstore:
    """With settings, and an index that no proxy has open."""
    (tmp_path / "config.toml").write_text(CONFIG)
    addon = Tgstore(compose, read_status)
    addon._config = load_config(tmp_path / "config.toml", {})
    return addon


async def test_status_says_where_a_bucket_stands(loaded: Tgstore) -> None:
    assert loaded._config is not None
    index = await open_index(loaded._config.index.url)
    await index.order_swept("images", [SweepOrder("a.png", 2048)], now_s=1.0)
    try:
        with taddons.context(*loaded.addons) as context:
            for asked in ("tgstore.status", "tgstore.status images"):
                text = context.master.commands.execute(asked)
                assert text.startswith("bucket images\n")
                assert "waiting       1 (2.0 KiB)" in text
    finally:
        await index.close()


async def test_what_cannot_be_told_is_an_error_of_the_command(loaded: Tgstore, monkeypatch: pytest.MonkeyPatch) -> None:
    with taddons.context(*loaded.addons) as context:
        with pytest.raises(
            exceptions.CommandError, match="there is no bucket others in the settings; there are: images"
        ):
            context.master.commands.execute("tgstore.status others")
        monkeypatch.setattr(commands, "STATUS_WAIT_S_MAX", 0.0)
        with pytest.raises(exceptions.CommandError, match="the index did not answer"):
            context.master.commands.execute("tgstore.status")
        loaded._config = None
        with pytest.raises(exceptions.CommandError, match="no settings"):
            context.master.commands.execute("tgstore.status")
