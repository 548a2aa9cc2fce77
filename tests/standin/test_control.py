"""The control port's client, and the program, in another process."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from addon.standin.command import main, make_parser
from addon.standin.control import Control, ControlFailed

READY_S_MAX = 20
TOKEN, CHANNEL, GROUP = "777:token", -1001234567890, -5


class Program:
    """The stand-in as its own process."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "addon.standin", "--folder", str(folder), "--port", "0", "--control-port", "0"]
        chats = ["--chat", f"{CHANNEL}:channel", f"--chat={GROUP}:group:Group"]
        self.process = subprocess.Popen(
            [*command, "--bot", TOKEN, *chats, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.url = self._url(r"stand-in ready: (http://\S+)\n")
        self.control = Control(self._url(r"stand-in control: (http://\S+)\n"))

    def _url(self, pattern: str) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = re.fullmatch(pattern, line)
        assert match, line
        return match[1]

    def call(self, method: str, **arguments: Any) -> Any:
        request = urllib.request.Request(
            f"{self.url}/bot{TOKEN}/{method}", json.dumps(arguments).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())["result"]

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=READY_S_MAX)
        return self.process.returncode, errors


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    running = Program(tmp_path)
    yield running
    if running.process.poll() is None:
        running.end()


def test_orders_from_another_process(program: Program) -> None:
    control = program.control
    rules = control.faults({"match": {"method": "getMe"}, "times": 2, "action": {"kind": "http"}})
    assert [rule["action"]["kind"] for rule in rules] == ["http"]
    with pytest.raises(urllib.error.HTTPError) as caught:
        program.call("getMe")
    caught.value.close()
    control.clear_faults()
    assert control.faults() == []
    assert program.call("getMe")["id"] == 777
    assert [entry["status"] for entry in control.log()] == [502, 200]
    assert [entry["status"] for entry in control.log(after=1)] == [200]
    before = control.clock_advance(0)
    assert control.clock_advance(5000) >= before + 5000
    control.chat("create", -1007, type="supergroup", title="New")
    program.call("sendMessage", chat_id=-1007, text="there")
    chats = control.state()["chats"]
    assert chats["-1007"]["messages"][-1]["text"] == "there"
    assert chats[str(GROUP)]["title"] == "Group"
    control.reset()
    assert set(control.state()["chats"]) == {str(CHANNEL), str(GROUP)}
    assert control.log() == []


@pytest.mark.parametrize(
    ("op", "values", "problem"),
    [
        ("nothing", {}, "op is one of"),
        ("kick", {"chat_id": 99}, "there is no chat 99"),
        ("kick", {"chat_id": GROUP, "bot_id": 1}, "1"),
        ("migrate", {"chat_id": GROUP}, "new_id"),
        ("create", {"chat_id": 5, "type": "cloud"}, "the type is one of"),
    ],
)
def test_orders_that_make_no_sense(program: Program, op: str, values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ControlFailed, match=problem):
        program.control.chat(op, **values)


def test_a_misspelt_fault_is_refused(program: Program) -> None:
    with pytest.raises(ControlFailed, match="has no parameter 'retry'"):
        program.control.faults({"action": {"kind": "rate", "retry": 1}})
    with pytest.raises(ControlFailed, match="forward only"):
        program.control.clock_advance(-1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_the_folder_is_found_again(tmp_path: Path, number: signal.Signals) -> None:
    first = Program(tmp_path)
    first.call("sendMessage", chat_id=CHANNEL, text="kept")
    assert first.end(number) == (0, "")
    second = Program(tmp_path)
    assert second.control.state()["chats"][str(CHANNEL)]["messages"][-1]["text"] == "kept"
    assert second.end() == (0, "")


def test_a_killed_program_loses_nothing_that_it_answered(tmp_path: Path) -> None:
    first = Program(tmp_path)
    numbers = [first.call("sendMessage", chat_id=CHANNEL, text=str(number))["message_id"] for number in range(10)]
    first.end(signal.SIGKILL)
    second = Program(tmp_path)
    messages = second.control.state()["chats"][str(CHANNEL)]["messages"]
    assert [message["message_id"] for message in messages if message["kind"] == "text"] == numbers
    assert second.call("sendMessage", chat_id=CHANNEL, text="next")["message_id"] == numbers[-1] + 1
    second.end()


def test_options_that_cannot_be_used_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", str(tmp_path), "--bot", "0:hidden"]) == 2
    assert main(["--folder", str(tmp_path), "--chat=x"]) == 2
    assert main(["--folder", str(tmp_path), "--host", "0.0.0.0"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("tgstore standin: ") == 3
    assert "hidden" not in errors


def test_the_help_names_the_switches() -> None:
    text = make_parser().format_help()
    for option in ("--rate-limits", "--range", "--control-port", "--bot", "--chat", "--folder", "--local"):
        assert option in text
