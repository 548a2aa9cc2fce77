"""The try-out: a stand-in for Telegram, a sample bucket, tgstore in front of both, and the story told with real clients.

``scripts/run.sh`` starts it. Without options it prints what to try and waits for Ctrl-C; with ``--journey`` it plays the
story itself and ends with status 0 when everything was as it should be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import ClientError

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = PROJECT / "data" / "try-out"
BIN = Path(sys.executable).parent

BUCKET, REGION = "images", "us-east-1"
ACCESS_KEY_ID, SECRET_ACCESS_KEY = "demo-access-key", "demo-secret-key"
BOT_TOKEN, CHAT_ID = "123456:a-bot-token-of-the-stand-in-000000000", -1001234567890
OLD_PICTURES = {"2019/lighthouse.png": 1, "2020/harbour.png": 2, "2021/dunes.png": 3}

READY_LIMIT_S, COPY_LIMIT_S, STOP_LIMIT_S, POLL_PAUSE_S = 60.0, 60.0, 10.0, 0.1

CONFIG = """\
[telegram]
api_url = "http://127.0.0.1:{telegram}"
bot_tokens = ["{token}"]
chat_ids = [{chat}]

[index]
url = "sqlite:///data/tgstore.db"

[cache]
dir = "data/cache"

[[buckets]]
name = "{bucket}"
path_hosts = ["localhost"]
anonymous_read = true
credentials = [{{ access_key_id = "{key}", secret_access_key = "{secret}" }}]
[buckets.origin]
endpoint = "http://127.0.0.1:{origin}"
bucket = "{bucket}"
region = "{region}"
addressing = "path"
access_key_id = "{key}"
secret_access_key = "{secret}"
"""


class StoryError(Exception):
    """Something was not as the story says."""


def picture(seed: int, width: int = 320, height: int = 200) -> bytes:
    """A valid PNG with a pattern of its own for every seed."""
    rows = b"".join(
        b"\0" + bytes(value % 256 for x in range(width) for value in (x + seed * 70, y * 2 + seed * 30, (x * y) // 64))
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def port_near(wanted: int) -> int:
    """``wanted`` if it is free, else any free port of 127.0.0.1."""
    for candidate in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StoryError("no free port on 127.0.0.1")


def wait_for(condition: Callable[[], object], limit_s: float, what: str) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise StoryError(f"not within {limit_s:.0f} s: {what}")
        time.sleep(POLL_PAUSE_S)


def answers(url: str, status: int | None = None) -> bool:
    try:
        got = httpx.get(url, timeout=5.0, trust_env=False).status_code
    except httpx.HTTPError:
        return False
    return status is None or got == status


class Scene:
    """The three processes, their ports and their logs."""

    def __init__(self) -> None:
        self.port, self.origin_port, self.telegram_port = port_near(8080), port_near(9000), port_near(8081)
        self.control_port = port_near(8082)
        self.endpoint, self.origin = f"http://localhost:{self.port}", f"http://localhost:{self.origin_port}"
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def set_up(self) -> None:
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        names = {
            "telegram": self.telegram_port, "token": BOT_TOKEN, "chat": CHAT_ID, "bucket": BUCKET, "region": REGION,
            "key": ACCESS_KEY_ID, "secret": SECRET_ACCESS_KEY, "origin": self.origin_port,
        }  # fmt: skip
        (FOLDER / "config.toml").write_text(CONFIG.format_map(names))
        self._start(
            "telegram", sys.executable, "-m", "addon.standin", "--folder", str(FOLDER / "telegram"),
            "--port", str(self.telegram_port), "--control-port", str(self.control_port),
            "--bot", BOT_TOKEN, f"--chat={CHAT_ID}:channel", cwd=PROJECT,
        )  # fmt: skip
        self._start("bucket", str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(self.origin_port))
        self._await("telegram", lambda: answers(f"http://127.0.0.1:{self.telegram_port}/"))
        self._await("bucket", lambda: answers(f"{self.origin}/moto-api/data.json", 200))
        at_origin = s3_client(self.origin)
        at_origin.create_bucket(Bucket=BUCKET)
        for key, seed in OLD_PICTURES.items():
            at_origin.put_object(Bucket=BUCKET, Key=key, Body=picture(seed), ContentType="image/png", ACL="public-read")
        self.start_tgstore()

    def start_tgstore(self) -> None:
        self._start(
            "tgstore", str(BIN / "mitmdump"), "-s", str(PROJECT / "addon" / "tgstore.py"), "--flow-detail", "0",
            "--mode", f"reverse:http://127.0.0.1:{self.origin_port}", "--listen-host", "127.0.0.1",
            "--listen-port", str(self.port), "--set", f"confdir={FOLDER / 'mitmproxy'}",
        )  # fmt: skip
        # An expired link of our own key: a ready tgstore refuses it by itself, whether the bucket is up or not.
        expired = (
            f"{self.endpoint}/{BUCKET}/ready?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=1&X-Amz-SignedHeaders=host"
            f"&X-Amz-Credential={ACCESS_KEY_ID}%2F20200101%2F{REGION}%2Fs3%2Faws4_request&X-Amz-Date=20200101T000000Z"
            f"&X-Amz-Signature={'0' * 64}"
        )
        self._await("tgstore", lambda: answers(expired, 403))

    def stop(self, name: str) -> None:
        child = self.children.pop(name)
        child.terminate()
        try:
            child.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def stop_all(self) -> None:
        for name in reversed(list(self.children)):
            self.stop(name)

    def log_tail(self, name: str) -> str:
        return (FOLDER / f"{name}.log").read_text(errors="replace")[-3000:]

    def documents_in_telegram(self) -> int:
        log = httpx.get(f"http://127.0.0.1:{self.control_port}/_ctl/log", trust_env=False).json()["result"]
        return sum(entry["method"].lower() == "senddocument" for entry in log)

    def is_copied(self, key: str) -> bool:
        index = sqlite3.connect(f"file:{FOLDER / 'data' / 'tgstore.db'}?mode=ro", uri=True, timeout=10)
        try:
            return bool(
                index.execute(
                    "SELECT count(*) FROM keys WHERE key = ? AND kind = 'object'", (key.encode(),)
                ).fetchone()[0]
            )
        finally:
            index.close()

    def _start(self, name: str, *argv: str, cwd: Path = FOLDER) -> None:
        with (FOLDER / f"{name}.log").open("ab") as log:
            # A session of its own, so that Ctrl-C reaches only this script, which then stops all in good order.
            self.children[name] = subprocess.Popen(  # noqa: S603 - our own programs
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=cwd, start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip

    def _await(self, name: str, ready: Callable[[], bool]) -> None:
        def ready_or_gone() -> bool:
            if self.children[name].poll() is not None:
                raise StoryError(f"{name} did not start:\n{self.log_tail(name)}")
            return ready()

        wait_for(ready_or_gone, READY_LIMIT_S, f"{name} is ready, see {shown(FOLDER / f'{name}.log')}")


def s3_client(endpoint: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
        region_name=REGION,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, proxies={}),
    )


def shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def print_scene(scene: Scene) -> None:
    print(f"""
  tgstore          {scene.endpoint}    bucket "{BUCKET}", keys {ACCESS_KEY_ID} / {SECRET_ACCESS_KEY}
  the old bucket   {scene.origin}    {len(OLD_PICTURES)} pictures: {", ".join(OLD_PICTURES)}
  "Telegram"       http://localhost:{scene.telegram_port}    a stand-in; what it was sent: {shown(FOLDER / "telegram")}
  settings, logs   {shown(FOLDER)}/config.toml, *.log
""")


def print_commands(scene: Scene) -> None:
    first = next(iter(OLD_PICTURES))
    signed = (
        f"curl --aws-sigv4 aws:amz:{REGION}:s3 --user {ACCESS_KEY_ID}:{SECRET_ACCESS_KEY} "
        "-H 'x-amz-content-sha256: UNSIGNED-PAYLOAD'"
    )
    with_boto3 = (
        f'AWS_ACCESS_KEY_ID={ACCESS_KEY_ID} AWS_SECRET_ACCESS_KEY={SECRET_ACCESS_KEY} {shown(BIN / "python")} -c "import boto3; '
        f"s3 = boto3.client('s3', endpoint_url='{scene.endpoint}', region_name='{REGION}'); "
        f"s3.put_object(Bucket='{BUCKET}', Key='hello.txt', Body=b'hello'); "
        f"print(s3.get_object(Bucket='{BUCKET}', Key='hello.txt')['Body'].read())\""
    )
    print(f"""Try (copy and paste):

  # an old picture: it comes from the bucket, and is copied to Telegram behind the scenes
  curl -o lighthouse.png {scene.endpoint}/{BUCKET}/{first}

  # a new one: verified and stored in Telegram; the bucket never sees it
  {signed} -T lighthouse.png {scene.endpoint}/{BUCKET}/new/lighthouse.png
  curl -I {scene.endpoint}/{BUCKET}/new/lighthouse.png
  curl -I {scene.origin}/{BUCKET}/new/lighthouse.png

  # the same with boto3
  {with_boto3}

  # switch the old bucket off: what was read or written stays
  kill {scene.children["bucket"].pid}

The whole story by itself: scripts/run.sh --journey
Ctrl-C stops everything.""")


# --- The story


class Journey:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.s3, self.at_origin = s3_client(scene.endpoint), s3_client(scene.origin)
        self.number = 0

    def step(self, what: str) -> None:
        self.number += 1
        print(f"\n{self.number}. {what}")

    def saw(self, what: str, as_expected: bool) -> None:
        if not as_expected:
            raise StoryError(f"not so: {what}")
        print(f"   ✓ {what}")

    def play(self) -> None:
        new, old = picture(9), picture(1)
        old_key = next(iter(OLD_PICTURES))
        self.upload(new)
        self.read_old(old_key, old)
        self.copied(old_key)
        self.step("Stop the old bucket, empty every cache, start tgstore again")
        self.scene.stop("bucket")
        self.saw("nobody answers at the old bucket's address", not answers(self.scene.origin))
        self.scene.stop("tgstore")
        shutil.rmtree(FOLDER / "data" / "cache", ignore_errors=True)
        self.scene.start_tgstore()
        self.still_served(old_key, old, new)
        self.delete()

    def upload(self, new: bytes) -> None:
        self.step("Upload a picture with boto3, signed as for the old bucket")
        before = self.scene.documents_in_telegram()
        self.s3.put_object(Bucket=BUCKET, Key="2026/new.png", Body=new, ContentType="image/png")
        self.saw(f"stored, {len(new):,} bytes", True)
        self.saw("Telegram has one more document", self.scene.documents_in_telegram() == before + 1)
        self.saw("the old bucket does not have it", not self._exists(self.at_origin, "2026/new.png"))
        back = self.s3.get_object(Bucket=BUCKET, Key="2026/new.png")
        self.saw("read back, the same bytes", back["Body"].read() == new)
        self.saw(f"its type is {back['ContentType']}", back["ContentType"] == "image/png")

    def read_old(self, key: str, old: bytes) -> None:
        self.step(f"Read an old picture, {key}, with curl and no keys")
        answer = self._curl(key)
        self.saw("the same bytes as ever", answer == old)
        asked = f"GET /{BUCKET}/{key}" in (FOLDER / "bucket.log").read_text()
        self.saw("they came from the old bucket: its log has the request", asked)

    def copied(self, key: str) -> None:
        self.step("Wait a moment: what was read is copied to Telegram in the background")
        wait_for(lambda: self.scene.is_copied(key), COPY_LIMIT_S, f"{key} is copied")
        self.saw(f"{key} is in Telegram too now", True)
        unread = list(OLD_PICTURES)[1]
        self.saw(f"{unread}, which nobody read, is not", not self.scene.is_copied(unread))

    def still_served(self, key: str, old: bytes, new: bytes) -> None:
        self.step("Read both again: there is only Telegram now")
        self.saw("the old picture, with curl: the same bytes", self._curl(key) == old)
        told = self.s3.head_object(Bucket=BUCKET, Key=key)
        self.saw(f"type {told['ContentType']}, ETag {told['ETag']}, as before", told["ContentType"] == "image/png")
        back = self.s3.get_object(Bucket=BUCKET, Key="2026/new.png")["Body"].read()
        self.saw("the new picture, with boto3: the same bytes", back == new)

    def delete(self) -> None:
        self.step("Delete the new picture")
        self.s3.delete_object(Bucket=BUCKET, Key="2026/new.png")
        self.saw("it is gone", not self._exists(self.s3, "2026/new.png"))

    def _curl(self, key: str) -> bytes:
        url = f"{self.scene.endpoint}/{BUCKET}/{key}"
        curl = shutil.which("curl")
        if curl is None:
            return httpx.get(url, trust_env=False).raise_for_status().content
        done = subprocess.run([curl, "-sS", "--fail", "--noproxy", "*", url], capture_output=True, check=False)  # noqa: S603 - curl
        if done.returncode != 0:
            raise StoryError(f"curl {url}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    @staticmethod
    def _exists(s3: Any, key: str) -> bool:
        try:
            s3.head_object(Bucket=BUCKET, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise
        return True


def wait_for_ctrl_c(scene: Scene) -> None:
    while scene.children["tgstore"].poll() is None:
        time.sleep(0.5)
    raise StoryError(f"tgstore ended:\n{scene.log_tail('tgstore')}")


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description="tgstore's try-out on this machine")
    parser.add_argument("--journey", action="store_true", help="play the story with real clients, then end")
    journey = parser.parse_args().journey
    signal.signal(signal.SIGTERM, interrupt)
    print("tgstore: a try-out on this machine, no account needed. Starting…", flush=True)
    scene = Scene()
    try:
        scene.set_up()
        print_scene(scene)
        if journey:
            Journey(scene).play()
            print("\nEverything was as it should be.")
        else:
            print_commands(scene)
            sys.stdout.flush()
            wait_for_ctrl_c(scene)
    except KeyboardInterrupt:
        print("\nStopping.")
    except (StoryError, ClientError, httpx.HTTPError) as error:
        print(f"\nFAILED: {error}\nLogs: {shown(FOLDER)}/*.log", file=sys.stderr)
        return 1
    finally:
        scene.stop_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
