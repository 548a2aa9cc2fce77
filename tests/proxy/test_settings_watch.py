"""The settings file while the proxy runs: what is taken over, what needs a restart, what is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from addon.config import Config, load_config
from addon.proxy.settings_watch import SettingsWatch

TEXT = """
[telegram]
bot_tokens = ["123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11"]
chat_ids = [-1001234567890]
[[buckets]]
name = "images"
hosts = ["images.test"]
{more}
[buckets.origin]
endpoint = "http://127.0.0.1:9"
bucket = "there"
"""


class Watched:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "config.toml"
        self.times = 0
        self.write("")
        self.taken: list[Config] = []
        self.watch = SettingsWatch(self.path, {}, load_config(self.path, {}), self.taken.append)

    def write(self, more: str) -> None:
        """Each time with another time of change, however coarse the file system's clock is."""
        self.path.write_text(TEXT.format(more=more))
        self.times += 1
        os.utime(self.path, ns=(self.times * 10**9, self.times * 10**9))


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


async def test_a_changed_file_is_read_once_and_handed_on(watched: Watched) -> None:
    await watched.watch.look()
    watched.write('mode = "passthrough"\nwrites = "both"')
    await watched.watch.look()
    await watched.watch.look()
    assert [(config.buckets[0].mode, config.buckets[0].writes) for config in watched.taken] == [
        ("store", "telegram"),
        ("passthrough", "both"),
    ]


async def test_a_wrong_file_is_said_once_and_changes_nothing(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    await watched.watch.look()
    for wrong in ('writes = "nowhere"', "[broken"):
        watched.write(wrong)
        await watched.watch.look()
        await watched.watch.look()
    assert len(watched.taken) == 1
    assert caplog.text.count("nothing of them is taken over") == 2
    assert "nowhere" in caplog.text
    watched.path.unlink()
    await watched.watch.look()
    await watched.watch.look()
    assert caplog.text.count("nothing of them is taken over") == 3
    watched.write('writes = "both"')
    await watched.watch.look()
    assert watched.taken[-1].buckets[0].writes == "both"


async def test_what_needs_a_restart_is_named_without_its_value(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.write('writes = "both"\nunknown_keys = "reject"')
    text = watched.path.read_text().replace("ABC-DEF1234ghIkl-zyx57W2v1u123ew11", "XYZ-DEF1234ghIkl-zyx57W2v1u123ew11")
    watched.path.write_text(f'{text}\n[[buckets]]\nname = "more"\nhosts = ["more.test"]\n')
    await watched.watch.look()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith(
        "only a restart takes over: telegram.bot_tokens, the new bucket more, unknown_keys of bucket images"
    )
    assert watched.taken[-1].buckets[0].writes == "both"
