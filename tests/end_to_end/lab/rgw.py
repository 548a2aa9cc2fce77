"""A real Ceph RGW on loopback: an independent S3 server that verifies signatures.

One monitor, one OSD that keeps everything in memory, one radosgw; no cephx, pool size 1. Up in about 17 seconds,
so one serves a whole test session. RGW 16.2 aborts now and then on odd requests: a thread starts it again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import uuid
from pathlib import Path

import httpx

from .origin import Origin
from .process import LabError, LabProcess, held_port, wait_for

READY_LIMIT_S = 90.0
COMMAND_LIMIT_S = 60.0
OSD_STARTS_MAX, OSD_UP_LIMIT_S = 4, 12.0
RESPAWN_PAUSE_S = 0.2
MEMORY_BYTES = 6 * 1024**3
PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool", "ceph")
PROGRAM_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"

CONFIG = """\
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{mon_port}
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
ms bind msgr2 = false
ms bind port min = 30000
ms bind port max = 60000
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
log file =
log to stderr = true
err to stderr = true
debug rgw = 1
crash dir = {folder}/crash
keyring = {folder}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon allow pool delete = true
mon data avail warn = 1
mon data avail crit = 1
[mon.a]
mon data = {folder}/mon
mon addr = v1:127.0.0.1:{mon_port}
[osd]
osd objectstore = memstore
osd data = {folder}/osd
memstore device bytes = {memory_bytes}
osd max object name len = 256
osd max object namespace len = 64
[client]
rgw dns name = localhost
rgw enable usage log = false
rgw dynamic resharding = false
rgw lifecycle work time = 00:00-00:01
rgw max concurrent requests = 64
rgw thread pool size = 32
"""


def why_not_here() -> str | None:
    """The reason why no RGW can run on this machine, or None."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PROGRAM_PATH) is None]
    return f"Ceph RGW is not installed (no {', '.join(missing)}); scripts/setup-lab.sh installs it" if missing else None


class Rgw:
    """The server. ``start`` returns when it answers S3 requests and its user exists."""

    def __init__(self, folder: Path, *, frontend_options: str = "") -> None:
        self.folder, self.frontend_options = folder, frontend_options
        self.port = held_port()
        self.origin = Origin(
            f"http://127.0.0.1:{self.port}", "AKRGWLAB00000000ORIG", "rgw-lab-secret-0123456789abcdefghij"
        )
        self.processes: list[LabProcess] = []
        self.stopping = threading.Event()
        self.paused = threading.Event()
        self.watcher: threading.Thread | None = None

    def start(self) -> None:
        for name in ("mon", "osd", "run", "crash"):
            (self.folder / name).mkdir(parents=True)
        fsid, mon_port = str(uuid.uuid4()), held_port()
        config = CONFIG.format(fsid=fsid, mon_port=mon_port, folder=self.folder, memory_bytes=MEMORY_BYTES)
        (self.folder / "ceph.conf").write_text(config)
        self._start_monitor(fsid, mon_port)
        self._start_osd()
        self.radosgw = self._daemon(
            "radosgw",
            "-n",
            "client.rgw",
            f"--rgw-frontends=beast endpoint=127.0.0.1:{self.port} {self.frontend_options}",
            "-f",
        )
        self.radosgw.wait_until(self.answers, READY_LIMIT_S)
        self._admin_user()
        self.watcher = threading.Thread(target=self._respawn, name="rgw-respawn", daemon=True)
        self.watcher.start()

    def answers(self) -> bool:
        try:
            return httpx.get(self.origin.endpoint, timeout=2.0).status_code == 200
        except httpx.HTTPError:
            return False

    def pause(self) -> None:
        """Take the S3 server away; the buckets stay in the OSD."""
        self.paused.set()
        # Killed, it would leave watches in the OSD, and its successor's first change would wait 30 s for them.
        self.radosgw.stop()

    def resume(self) -> None:
        self.paused.clear()
        wait_for(self.answers, READY_LIMIT_S, "radosgw answers again")

    def stop(self) -> None:
        self.stopping.set()
        if self.watcher is not None:
            self.watcher.join(COMMAND_LIMIT_S)
        for process in reversed(self.processes):
            process.kill()

    def _daemon(self, program: str, *arguments: str) -> LabProcess:
        process = LabProcess(
            program,
            [self._program(program), "-c", self.folder / "ceph.conf", *arguments],
            log=self.folder / f"{program}.log",
            cwd=self.folder,
        )
        process.start()
        self.processes.append(process)
        return process

    def _command(self, program: str, *arguments: str | Path) -> str:
        argv = [self._program(program), *map(str, arguments)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, cwd=self.folder)
        if done.returncode != 0:
            raise LabError(
                f"{program} {' '.join(map(str, arguments))}: status {done.returncode}\n{done.stderr[-3000:]}"
            )
        return done.stdout

    @staticmethod
    def _program(name: str) -> str:
        found = shutil.which(name, path=PROGRAM_PATH)
        if found is None:
            raise LabError(str(why_not_here()))
        return found

    def _start_monitor(self, fsid: str, mon_port: int) -> None:
        config, monmap = self.folder / "ceph.conf", self.folder / "monmap"
        self._command(
            "monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", f"[v1:127.0.0.1:{mon_port}]", monmap
        )
        self._command("ceph-mon", "-c", config, "--mkfs", "-i", "a", "--monmap", monmap)
        self._daemon("ceph-mon", "-i", "a", "-f")
        wait_for(self._monitor_answers, READY_LIMIT_S, "the monitor answers")

    def _monitor_answers(self) -> bool:
        # While it forms its quorum of one, the monitor refuses what it is asked with EPERM.
        try:
            self._command("ceph", "-c", self.folder / "ceph.conf", "--connect-timeout", "30", "status")
        except LabError:
            return False
        return True

    def _start_osd(self) -> None:
        config, osd_uuid = self.folder / "ceph.conf", str(uuid.uuid4())
        self._command("ceph", "-c", config, "--connect-timeout", "30", "osd", "new", osd_uuid)
        self._command("ceph-osd", "-c", config, "--mkfs", "-i", "0", "--osd-uuid", osd_uuid)
        osd = self._daemon("ceph-osd", "-i", "0", "-f")
        # An OSD that starts while pools are being made sometimes never comes up: so it is awaited, and started again.
        for _ in range(OSD_STARTS_MAX):
            try:
                wait_for(self._osd_is_up, OSD_UP_LIMIT_S, "the OSD is up")
                return
            except LabError:
                osd.kill()
                osd.start()
        raise LabError(f"the OSD does not come up:\n{osd.log_tail()}")

    def _osd_is_up(self) -> bool:
        told = json.loads(self._command("ceph", "-c", self.folder / "ceph.conf", "osd", "stat", "--format", "json"))
        return bool(told["num_up_osds"])

    def _admin_user(self) -> None:
        self._command(
            "radosgw-admin", "-c", self.folder / "ceph.conf", "-n", "client.rgw", "user", "create",
            "--uid=lab", "--display-name=Lab",
            f"--access-key={self.origin.access_key_id}", f"--secret-key={self.origin.secret_access_key}",
        )  # fmt: skip

    def _respawn(self) -> None:
        while not self.stopping.wait(RESPAWN_PAUSE_S):
            if not self.paused.is_set() and not self.radosgw.running:
                self.radosgw.start()
