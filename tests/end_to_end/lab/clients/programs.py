"""Running a client's program: where scripts/setup-lab.sh puts it, and a clean environment to start it in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.end_to_end.lab.process import LabError

PROJECT = Path(__file__).parents[4]
LAB = PROJECT / ".lab"
SCRIPTS = Path(__file__).parents[2] / "clients"
COMMAND_LIMIT_S = 120.0


def run(argv: list[str | Path], env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its status is left to the caller. Nothing of a proxy in the surroundings reaches it."""
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT_S,
        env={**clean, **(env or {})},
    )


def must_run(argv: list[str | Path], env: Mapping[str, str] | None = None) -> str:
    """Run a program that has to succeed, and return what it wrote to its standard output.

    Raises:
        LabError: its exit status was not 0; the text has the end of all that it wrote.
    """
    done = run(argv, env)
    if done.returncode != 0:
        words = " ".join(str(word) for word in argv[:6])
        raise LabError(f"{words} …: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def missing(program: Path | str) -> str | None:
    """Why a program cannot be driven here, or None. A name without a folder is looked for on the path."""
    found = program.exists() if isinstance(program, Path) else shutil.which(program)
    return None if found else f"{Path(program).name} is not installed; scripts/setup-lab.sh installs it"


def missing_node_package(name: str) -> str | None:
    """Why a script that needs this npm package cannot run here, or None."""
    if reason := missing("node"):
        return reason
    installed = (LAB / "node" / "node_modules" / name).exists()
    return None if installed else f"the npm package {name} is not installed; scripts/setup-lab.sh installs it"


def version_in(text: str) -> str:
    """The first thing in ``text`` that looks like a version."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    if found is None:
        raise LabError(f"no version in {text[:200]!r}")
    return found.group()


def node_package_version(name: str) -> str:
    described = json.loads((LAB / "node" / "node_modules" / name / "package.json").read_text())
    return str(described["version"])
