"""What a person does first: ``scripts/run.sh``, with nothing configured, and the commands that it prints."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.lab.process import LabProcess, listening
from tests.end_to_end.lab.tgstore import ADDON, PROJECT

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.slow,
    pytest.mark.skipif(not ADDON.exists(), reason="addon/tgstore.py is not there yet"),
]

RUN = PROJECT / "scripts" / "run.sh"
JOURNEY_LIMIT_S, READY_LIMIT_S, COMMAND_LIMIT_S = 180.0, 120.0, 60.0


def test_journey_ends_well(tmp_path: Path) -> None:
    done = subprocess.run([RUN, "--journey"], cwd=tmp_path, capture_output=True, text=True, timeout=JOURNEY_LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything was as it should be." in done.stdout
    assert done.stdout.count("✓") >= 12
    assert not any(listening(port) for port in ports_in(done.stdout))


@pytest.fixture
def tried_out(tmp_path: Path) -> Iterator[LabProcess]:
    run = LabProcess("run.sh", [RUN], log=tmp_path / "run.log", cwd=tmp_path)
    run.start()
    try:
        run.wait_until(lambda: "Ctrl-C stops everything." in run.log_text(), READY_LIMIT_S)
        yield run
    finally:
        run.stop()


def test_printed_commands_work_and_ctrl_c_stops_all(tried_out: LabProcess, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    told = tried_out.log_text()
    commands = re.findall(r"^  (?:curl|AWS_|kill) ?.*$", told, re.MULTILINE)
    assert len(commands) == 6
    download, upload, look_here, look_there, with_boto3, stop_bucket = map(str.strip, commands)
    shell(download, tmp_path)
    picture = (tmp_path / "lighthouse.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    shell(upload, tmp_path)
    assert " 200" in shell(look_here, tmp_path).splitlines()[0]
    assert " 404" in shell(look_there, tmp_path).splitlines()[0]
    assert "b'hello'" in shell(with_boto3, tmp_path)
    shell(stop_bucket, tmp_path)
    again = shell(look_here.replace("curl -I", "curl --fail --output again.png"), tmp_path)
    assert (tmp_path / "again.png").read_bytes() == picture, again
    assert tried_out.child is not None
    tried_out.child.send_signal(signal.SIGINT)
    assert tried_out.exit_status() == 0
    assert not any(listening(port) for port in ports_in(told))


def ports_in(text: str) -> set[int]:
    return {int(port) for port in re.findall(r"http://localhost:(\d+)", text)}


def shell(command: str, folder: Path) -> str:
    env = {**os.environ, "NO_PROXY": "*"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, env=env
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout
