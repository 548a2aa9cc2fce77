"""The `tgstore` program as its users run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.lab.moto import Moto
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.tgstore import Bucket, config_text

TGSTORE = Path(sys.executable).parent / "tgstore"


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TGSTORE, *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose config.toml names a running stand-in and a running bucket."""
    folder = tmp_path_factory.mktemp("cli")
    standin, moto = Standin(folder), Moto(folder)
    standin.start()
    moto.start()
    try:
        moto.origin.s3().create_bucket(Bucket="pictures")
        bucket = Bucket("pictures", moto.origin, hosts=("img.example.invalid",), path_hosts=())
        (folder / "config.toml").write_text(config_text([bucket], standin.url))
        yield folder
    finally:
        standin.stop()
        moto.stop()


def test_check_finds_everything_right(folder: Path) -> None:
    done = run("check", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    assert "are right" in done.stdout


def test_check_names_what_fails_and_ends_with_1(folder: Path, tmp_path: Path) -> None:
    broken = (folder / "config.toml").read_text().replace('bucket = "pictures"', 'bucket = "elsewhere"')
    (tmp_path / "config.toml").write_text(broken)
    done = run("check", "--quiet", cwd=tmp_path)
    assert done.returncode == 1
    assert "FAILED origin of bucket pictures: list" in done.stdout
    assert "→" in done.stdout
    assert not [line for line in done.stdout.splitlines() if line.startswith("ok ")]


def test_a_wrong_setting_is_said_with_file_key_value_and_what_was_expected(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text((folder / "config.toml").read_text().replace('"2GiB"', '"much"'))
    done = run("check", "--config", str(path), cwd=tmp_path)
    assert done.returncode == 1
    for part in (str(path), "cache.bytes_max", "much", "expected"):
        assert part in done.stderr


def test_without_a_configuration_it_says_what_to_do(tmp_path: Path) -> None:
    done = run("check", cwd=tmp_path)
    assert done.returncode == 1
    assert "config.example.toml" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["check", "--help"], ["standin", "--help"], ["import", "d1", "--help"]]
)
def test_help_suffices(arguments: list[str], tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0
    assert "sage" in done.stdout


def test_version_names_the_program(tmp_path: Path) -> None:
    assert run("version", cwd=tmp_path).stdout.startswith("tgstore ")
