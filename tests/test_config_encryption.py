"""`[encryption]`: how keys are spelt, what is refused, and that none is ever shown."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

from addon.config import load_config, needing_restart
from tests.test_config import MINIMAL, load, problems

KEY, OTHER = bytes(range(200, 232)), bytes(range(32))
HEX, OTHER_HEX = KEY.hex(), OTHER.hex()
BASE64 = base64.b64encode(KEY).decode()


def encrypted(lines: str) -> str:
    return f"{MINIMAL}\n[encryption]\n{lines}\n"


def test_without_the_table_there_is_no_key(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    assert config.encryption is None
    assert config.sealing_keys == (None, ())
    assert config.lost_key_ids == frozenset()


@pytest.mark.parametrize(
    "spelling",
    [HEX, HEX.upper(), BASE64, BASE64.rstrip("="), base64.urlsafe_b64encode(KEY).decode(), "env:KEY", "file:key"],
)
def test_a_key_is_32_bytes_however_it_is_spelt(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "key").write_text(f"{BASE64}\n")
    environ: Mapping[str, str] = {"KEY": HEX}
    assert load(tmp_path, encrypted(f'key = "{spelling}"'), environ).sealing_keys == (KEY, ())


def test_former_keys_and_lost_ones(tmp_path: Path) -> None:
    config = load(tmp_path, encrypted(f'former_keys = ["{HEX}", "{OTHER_HEX}"]\nlost_key_ids = ["0123456789abcdef"]'))
    assert config.sealing_keys == (None, (KEY, OTHER))
    assert config.lost_key_ids == {"0123456789abcdef"}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", "encryption.key: this key is missing"),
        (f'key = "{HEX[:-2]}"', "encryption.key = ***: expected 32 random bytes"),
        (f'key = "{HEX}00"', "encryption.key = ***: expected 32 random bytes"),
        (f'key = "{"g" * 64}"', "encryption.key = ***: expected 32 random bytes"),
        ('key = "a passphrase"', "encryption.key = ***: expected printable"),
        ('key = "env:NOWHERE"', "encryption.key = ***: expected the environment variable NOWHERE"),
        (f'former_keys = ["{HEX}", "short"]', "encryption.former_keys[1] = ***: expected 32 random bytes"),
        (
            f'key = "{HEX}"\nformer_keys = ["{OTHER_HEX}", "{BASE64}"]',
            "encryption.former_keys[1] = ***: expected another key than encryption.key",
        ),
        (
            f'former_keys = ["{HEX}", "{BASE64}"]',
            "encryption.former_keys[1] = ***: expected another key than encryption.former_keys[0]",
        ),
        ('lost_key_ids = ["0123456789ABCDEF"]', "encryption.lost_key_ids[0] = "),
        (f'key = "{HEX}"\nold_keys = []', "encryption.old_keys: there is no such key; did you mean"),
    ],
)
def test_what_is_wrong_is_said_and_no_key_shown(tmp_path: Path, lines: str, expected: str) -> None:
    (problem,) = problems(tmp_path, encrypted(lines))
    assert problem.startswith(expected)
    for spelling in (HEX, BASE64, OTHER_HEX):
        assert spelling[:12] not in problem


def test_settings_do_not_show_their_keys(tmp_path: Path) -> None:
    config = load(tmp_path, encrypted(f'key = "{HEX}"\nformer_keys = ["{OTHER_HEX}"]'))
    assert HEX not in repr(config)
    assert OTHER_HEX not in repr(config)


def test_it_is_taken_over_by_a_restart_only(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    texts = (MINIMAL, encrypted(f'key = "{HEX}"'), encrypted(f'key = "{OTHER_HEX}"\nformer_keys = ["{HEX}"]'))
    configs = []
    for text in texts:
        path.write_text(text)
        configs.append(load_config(path, {}))
    without, on, rotated = configs
    assert list(needing_restart(without, without)) == []
    assert list(needing_restart(without, on)) == list(needing_restart(on, without)) == ["encryption"]
    assert list(needing_restart(on, rotated)) == ["encryption.key", "encryption.former_keys"]
