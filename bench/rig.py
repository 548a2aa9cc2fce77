"""What every benchmark needs: the processes, a load generator, medians."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.process import LabProcess, held_port, listening
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.tgstore import Bucket, Tgstore

PROJECT = Path(__file__).parents[1]
BUCKET = "bench"
READY_S_MAX = 30.0
LOAD_CONNECTIONS = 16
LOAD_S = 5
ROUNDS = 5
IMAGE_BYTES = 100_000


@contextmanager
def origin_server(folder: Path, body_bytes: int = IMAGE_BYTES, keys: int = 0) -> Iterator[Origin]:
    """The static origin, running, with so many keys in its listing."""
    port = held_port()
    argv = [sys.executable, "-m", "bench.origin_server", str(port), str(body_bytes), str(keys)]
    process = LabProcess("origin", argv, log=folder / "origin.log", cwd=PROJECT)
    process.start()
    try:
        process.wait_until(lambda: listening(port), READY_S_MAX)
        yield Origin(f"http://127.0.0.1:{port}", "AKBENCH", "bench-secret")
    finally:
        process.stop()


@contextmanager
def bare_mitmdump(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> Iterator[int]:
    """mitmdump without the addon; gives its port."""
    port = held_port()
    argv = [
        Path(sys.executable).parent / "mitmdump", "-q", "--listen-host", "127.0.0.1", "-p", str(port),
        "--set", f"confdir={folder / 'bare'}", *arguments,
    ]  # fmt: skip
    process = LabProcess("bare mitmdump", argv, log=folder / "bare.log", cwd=PROJECT, env=env)
    process.start()
    try:
        process.wait_until(lambda: listening(port), READY_S_MAX)
        yield port
    finally:
        process.stop()


@contextmanager
def tgstore(
    folder: Path,
    origin: Origin,
    *,
    limits: str = "off",
    stand_in: Sequence[str] = (),
    settings: str = "",
    adapt: Callable[[str], str] = lambda text: text,
    cache: tuple[str, str] | None = None,
) -> Iterator[tuple[Tgstore, Standin]]:
    """The product in reverse mode, with more `settings`, its settings file changed by `adapt`, and the stand-in behind it; anyone
    may read its bucket. `cache` is how much it may keep on disk and in memory."""
    folder.mkdir(exist_ok=True)
    standin = Standin(folder, "--rate-limits", limits, *stand_in)
    bucket = Bucket(BUCKET, origin, anonymous_read=True)
    standin.start()
    product = Tgstore(folder / "product", standin, [bucket], options=["-q"])
    product.config.write_text(adapt(product.config.read_text() + settings))
    if cache is not None:
        text = re.sub("(?m)^bytes_max = .*", f'bytes_max = "{cache[0]}"', product.config.read_text())
        product.config.write_text(re.sub("(?m)^memory_bytes_max = .*", f'memory_bytes_max = "{cache[1]}"', text))
    try:
        product.start()
        yield product, standin
    finally:
        product.stop()
        standin.stop()


def wrk(url: str, *, script: str | None = None) -> float:
    """Requests per second of one round; raises where an answer was not a success."""
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    argv = [program, "-t1", f"-c{LOAD_CONNECTIONS}", f"-d{LOAD_S}s"]
    if script is not None:
        argv += ["-s", script]
    output = subprocess.run([*argv, url], capture_output=True, text=True, check=True, timeout=10 * LOAD_S).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"not every answer was a success:\n{output}")
    match = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert match is not None, output
    return float(match[1])


def paired(
    measure_a: Callable[[], float], measure_b: Callable[[], float], *, rounds: int = ROUNDS
) -> tuple[float, float, float]:
    """Medians of A and B measured in turn, and the median of A/B pair by pair."""
    pairs = [(measure_a(), measure_b()) for _ in range(rounds)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
    )


def peak_memory_bytes(pid: int) -> int:
    """The most memory that a process has held so far (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) * 1024


def reset_peak_memory(pid: int) -> None:
    """Begin to count the peak anew (proc(5): 5 into clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def mib(size: float) -> str:
    return f"{size / (1 << 20):.0f} MiB"


def machine() -> str:
    return f"{os.cpu_count()} processors, Python {sys.version.split()[0]}"


def row(name: str, *cells: str) -> None:
    print(f"{name:<50}" + "".join(f"{cell:>22}" for cell in cells), flush=True)


def run_names(argv: Sequence[str], known: Sequence[str]) -> list[str]:
    unknown = set(argv) - set(known)
    if unknown:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return list(argv) or list(known)
