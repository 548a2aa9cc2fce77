"""The data folder is lost: what the chats give back is what was there."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import httpx
import pytest

from addon.index.sql_index import open_index
from addon.store.ports import IndexUnavailable
from addon.store.records import ObjectRecord, Tombstone
from tests.commands.program import ended, started, tgstore
from tests.service.fixtures import OriginServer
from tests.service.lost_folder import fill, in_parts, packs, put, save, small_parts, states, told, told_of, world
from tests.service.product import ALONE, ENCRYPTION, IMAGES, eventually
from tests.service.uploads import begin
from tests.standin_fixture import BOT_A, CHANNEL, OTHER_CHANNEL

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_retries")]

TWO_CHATS = f"{CHANNEL}, {OTHER_CHANNEL}"
KEYS = ["large", "in parts", "copy of parts", "small/4", "small/5", "deleted", "never was", "from the origin"]
PLAIN: dict[str, str] = {}
CHATS, SEALED = {"chats": TWO_CHATS}, {"encryption": ENCRYPTION}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch)


@pytest.mark.parametrize(
    ("how", "settings"),
    [
        ("with a snapshot", PLAIN),
        ("with an older snapshot", PLAIN),
        ("with an older snapshot", CHATS),
        ("with an older snapshot", SEALED),
        ("without a snapshot", PLAIN),
        ("without a snapshot", CHATS),
        ("without a snapshot", SEALED),
    ],
)
async def test_all_comes_back(tmp_path: Path, origin_server: OriginServer, how: str, settings: dict[str, str]) -> None:
    async with world(tmp_path, origin_server, **settings) as lost:
        async with lost.product() as product:
            if how == "with an older snapshot":
                await put(product, "replaced", b"before the snapshot")
                await put(product, "deleted", b"before the snapshot")
                await in_parts(product, "in parts too")
                await save(product)
            await fill(lost, product)
            await product.store.packer.flush_states()
            if how == "with a snapshot":
                await save(product)
            before, index_before = await told(product), await states(product, KEYS)
        await lost.lose()
        done = await lost.recover()
        assert done.status == 0, done.err
        assert done.summary["lost"] == []
        assert done.summary["unreadable"] == []
        async with lost.product() as product:
            assert await told(product) == before
            assert await states(product, KEYS) == index_before
            verified = await tgstore("verify", IMAGES, "--deep", "--written", "--json", cwd=tmp_path)
            assert verified.status == 0, verified.out
            await put(product, "afterwards", b"it goes on")
            after = await product.state("afterwards")
            assert isinstance(after, ObjectRecord)
            assert after.generation > max(one[0] for one in index_before.values() if isinstance(one, tuple))


@pytest.mark.parametrize("with_snapshot", [True, False])
async def test_what_was_acknowledged_a_moment_ago_comes_back_though_no_state_tells_of_it(
    tmp_path: Path, origin_server: OriginServer, with_snapshot: bool
) -> None:
    async with world(tmp_path, origin_server) as lost:
        async with lost.product() as product:
            await put(product, "replaced", b"former")
            await put(product, "alone", b"former", bucket=ALONE)
            if with_snapshot:
                await save(product)
            await asyncio.gather(*(put(product, f"new/{number}", bytes([number])) for number in range(10)))
            await put(product, "replaced", b"present")
            before = await told(product)
        await lost.lose()
        done = await lost.recover()
        assert done.status == 0, done.err
        assert done.summary["items"] >= 1
        async with lost.product() as product:
            assert await told(product) == before


async def test_a_pack_downloaded_by_hand_opens_with_unzip(tmp_path: Path, origin_server: OriginServer) -> None:
    async with world(tmp_path, origin_server) as lost:
        async with lost.product() as product:
            bodies = {f"folder/{number}.txt": bytes([number]) * 50 for number in range(30)}
            await asyncio.gather(*(put(product, key, body) for key, body in bodies.items()))
        assert len(packs(lost)) < len(bodies)
        found: dict[str, bytes] = {}
        for number, message in enumerate(packs(lost)):
            content = await by_hand(lost.standin.url, message["message_id"])
            path, folder = tmp_path / f"{number}.zip", tmp_path / f"unzipped-{number}"
            await asyncio.to_thread(path.write_bytes, content)
            await asyncio.to_thread(unzip, path, folder)
            about = json.loads(await asyncio.to_thread((folder / "tgstore.json").read_text))
            for item in about["items"]:
                unzipped = await asyncio.to_thread((folder / item["name"]).read_bytes)
                assert hashlib.sha256(unzipped).hexdigest() == item["sha256"]
                assert item["bucket"] == IMAGES
                found[item["key"]] = unzipped
        assert found == bodies


async def by_hand(api_url: str, message_id: int) -> bytes:
    """What a person with a token and curl would do."""
    async with httpx.AsyncClient(trust_env=False) as client:
        place = {"chat_id": CHANNEL, "from_chat_id": CHANNEL, "message_id": message_id}
        copy = (await client.post(f"{api_url}/bot{BOT_A}/forwardMessage", data=place)).json()["result"]
        file = (await client.get(f"{api_url}/bot{BOT_A}/getFile?file_id={copy['document']['file_id']}")).json()[
            "result"
        ]
        return (await client.get(f"{api_url}/file/bot{BOT_A}/{file['file_path']}")).content


def unzip(path: Path, folder: Path) -> None:
    program = shutil.which("unzip")
    if program is None:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        return
    subprocess.run([program, "-q", str(path), "-d", str(folder)], check=True, timeout=60, stdin=subprocess.DEVNULL)


async def test_a_recovery_that_is_killed_goes_on(tmp_path: Path, origin_server: OriginServer) -> None:
    async with world(tmp_path, origin_server) as lost:
        async with lost.product() as product:
            for number in range(160):
                await put(product, f"key/{number}", bytes([number]))
            await product.store.packer.flush_states()
            before = await told(product)
        await lost.lose()
        begun = lost.calls("forwardmessage")
        process = await started("recover", "--json", cwd=tmp_path)
        await eventually(lambda: lost.calls("forwardmessage") - begun > 110)
        process.kill()
        assert (await ended(process)).status == -9
        with pytest.raises(IndexUnavailable, match="tgstore recover"):
            await open_index(f"sqlite:///{tmp_path}/tgstore.db")
        between = lost.calls("forwardmessage")
        done = await lost.recover()
        assert done.status == 0, done.err
        assert lost.calls("forwardmessage") - between < between - begun + 100, "what was read is not read again"
        async with lost.product() as product:
            assert await told(product) == before


async def test_what_has_no_place_is_said(tmp_path: Path, origin_server: OriginServer) -> None:
    async with world(tmp_path, origin_server, chats=TWO_CHATS) as lost:
        async with lost.product() as product:
            await put(product, "whole", b"whole")
            await put(product, "large", bytes(4_000_000))
            open_upload = await begin(product, "open")
            await open_upload.put(1, b"nobody completes it")
            await product.store.packer.flush_states()
            large = await product.state("large")
            assert isinstance(large, ObjectRecord)
            gone = large.extents[0].document
            before = await states(product, ["whole"])
            for chat_id in (CHANNEL, OTHER_CHANNEL):
                lost.standin.control.chat("post", chat_id, text="hello")
            lost.standin.control.chat("delete_message", gone.chat_id, message_id=gone.message_id)
        await lost.lose()
        done = await lost.recover()
        assert done.status == 1
        summary = done.summary
        assert [(one["key"], one["missing"]) for one in summary["lost"]] == [("large", [gone.document_id])]
        assert (summary["foreign"], summary["open_parts"], summary["objects"]) == (2, 1, 1)
        async with lost.product() as product:
            assert await states(product, ["whole"]) == before
            assert await product.state("large") is None
            assert large.extents[1].document.document_id in await product.garbage()


async def test_what_only_a_lost_document_told_of_can_be_taken_all_the_same(
    tmp_path: Path, origin_server: OriginServer
) -> None:
    async with world(tmp_path, origin_server) as lost:
        async with lost.product() as product:
            await put(product, "key", b"content")
            await put(product, "next", b"its pack tells of the key before")
            await put(product, "last", b"its pack tells that all before is told")
            await product.store.packer.flush_states()
            before = await told_of(product, "key", IMAGES)
            telling = await product.state("next")
            assert isinstance(telling, ObjectRecord)
            gone = telling.extents[0].document
            lost.standin.control.chat("delete_message", gone.chat_id, message_id=gone.message_id)
        await lost.lose()
        done = await lost.recover()
        assert [one["key"] for one in done.summary["lost"]] == ["next"]
        assert (done.summary["untold"], done.summary["objects"]) == (1, 1)
        await lost.lose()
        done = await lost.recover("--take-untold")
        assert (done.summary["untold"], done.summary["objects"]) == (0, 2)
        async with lost.product() as product:
            assert await told_of(product, "key", IMAGES) == before


async def test_the_same_document_in_another_chat_is_its_second_copy(
    tmp_path: Path, origin_server: OriginServer
) -> None:
    async with world(tmp_path, origin_server) as lost:
        async with lost.product() as product:
            await put(product, "key", b"content")
            await product.store.packer.flush_states()
        for message in packs(lost):
            place = {"chat_id": OTHER_CHANNEL, "from_chat_id": CHANNEL, "message_id": message["message_id"]}
            async with httpx.AsyncClient(trust_env=False) as client:
                await client.post(f"{lost.standin.url}/bot{BOT_A}/copyMessage", data=place)
        await lost.lose()
        lost.settings["chats"] = TWO_CHATS
        text = await asyncio.to_thread((tmp_path / "config.toml").read_text)
        await asyncio.to_thread((tmp_path / "config.toml").write_text, text.replace(f"[{CHANNEL}]", f"[{TWO_CHATS}]"))
        done = await lost.recover()
        assert done.status == 0, done.err
        assert done.summary["copies"] == len(packs(lost))
        assert done.summary["unplaced_documents"] == 0


async def test_a_new_index_beside_a_saved_one_says_so_and_pins_nothing(
    tmp_path: Path, origin_server: OriginServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path, origin_server) as lost:
        async with lost.product() as product:
            await put(product, "key", b"content")
            await save(product)
        pinned = lost.standin.control.state()["chats"][str(CHANNEL)]["pinned"]
        await lost.lose()
        async with lost.product() as product:
            await eventually(lambda: "run `tgstore recover`" in caplog.text)
            await put(product, "another", b"content")
            done = await tgstore("snapshot", cwd=tmp_path)
            assert done.status == 1
            assert "tgstore recover" in done.err
            status = await tgstore("status", cwd=tmp_path)
            assert "NOT pinned" in status.out
            refused = await lost.recover()
            assert refused.status == 1
            assert "put it aside" in refused.err
        assert lost.standin.control.state()["chats"][str(CHANNEL)]["pinned"] == pinned


async def test_a_wrong_key_is_an_error_and_never_an_empty_index(tmp_path: Path, origin_server: OriginServer) -> None:
    async with world(tmp_path, origin_server, encryption=ENCRYPTION) as lost:
        async with lost.product() as product:
            await put(product, "key", b"content")
            await save(product)
        await lost.lose()
        path = tmp_path / "config.toml"
        text = await asyncio.to_thread(path.read_text)
        await asyncio.to_thread(path.write_text, text.replace(ENCRYPTION, f'key = "{bytes(32).hex()}"'))
        for arguments in ((), ("--from-messages",)):
            done = await lost.recover(*arguments)
            assert done.status == 1
            assert "key" in done.err
            assert not await asyncio.to_thread((tmp_path / "tgstore.db").exists)
        await asyncio.to_thread(path.write_text, text)
        assert (await lost.recover()).status == 0


async def test_tombstones_come_back(tmp_path: Path, origin_server: OriginServer) -> None:
    async with world(tmp_path, origin_server) as lost:
        async with lost.product() as product:
            origin_server.put("theirs", b"still there")
            assert (await product.send("DELETE", "theirs")).status_code == 204
            await product.store.packer.flush_states()
        await lost.lose()
        assert (await lost.recover()).status == 0
        async with lost.product() as product:
            assert isinstance(await product.state("theirs"), Tombstone)
            assert (await product.send("GET", "theirs")).status_code == 404
