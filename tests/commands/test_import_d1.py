"""`tgstore import d1` as its users run it, beside the running product that then serves the same links."""

from __future__ import annotations

import hashlib
import random
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from addon.index.sql_index import SqlIndex
from addon.store.records import BLOCK_BYTES, ObjectRecord, Tombstone
from tests.commands.import_lab import Row, dump, ended, imported, sent, sqlite_file, started
from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, HOST, IMAGES, Answer, Product, eventually
from tests.standin_fixture import BOT_A, BOT_B, CHANNEL

PICTURE = b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(5000)
FILM = random.Random(2).randbytes(2 * BLOCK_BYTES + 4567)
PAGE = b"<!doctype html><title>a page</title>"
MD5 = re.compile(r"[0-9a-f]{32}")


async def get(product: Product, key: str, *, bucket: str = IMAGES, **more: Any) -> Answer:
    """As any visitor of the site asks."""
    return await product.send("GET", key, bucket=bucket, by=None, **more)


async def record_of(product: Product, key: str, bucket: str = IMAGES) -> ObjectRecord:
    state = await product.state(key, bucket)
    assert isinstance(state, ObjectRecord)
    return state


@pytest.mark.parametrize(("export", "reads"), [(dump, False), (sqlite_file, True)], ids=["dump", "file, read"])
async def test_the_same_links_are_served_byte_for_byte(
    product: Product, export: Callable[[Path, Sequence[Row]], Path], reads: bool
) -> None:
    files = {
        ("https://images.test/a/picture.jpg", IMAGES, "a/picture.jpg"): PICTURE,
        ("http://images.test:8080/films/caf%C3%A9%20no%2E1.mp4", IMAGES, "films/café no.1.mp4"): FILM,
        (f"https://{HOST}/alone/it's;a page.html", ALONE, "it's;a page.html"): PAGE,
    }
    bots = [BOT_A, BOT_B, BOT_A]
    ids = [await sent(product, content, by=bot) for bot, content in zip(bots, files.values(), strict=True)]
    path = export(product.folder, [(url, file_id) for (url, _, _), file_id in zip(files, ids, strict=True)])
    arguments = [path, "--json", *(["--read"] if reads else [])]
    done = await ended(await started(product, *arguments))
    assert done.status == 0, done
    assert done.summary["taken"] == 3
    assert done.summary["size"] == sum(map(len, files.values()))
    assert done.summary["without_hashes"] == (0 if reads else 3)
    assert product.sends() == 3, "nothing was sent for it"
    for (_, bucket, key), content in files.items():
        whole = await get(product, key, bucket=bucket)
        assert whole.status_code == 200
        assert whole.content == content
        etag = whole.headers["etag"].strip('"')
        if reads:
            assert etag == hashlib.md5(content).hexdigest()
        else:
            assert etag.endswith("-1")
            assert not MD5.fullmatch(etag)
        assert (await get(product, key, bucket=bucket, headers=[("if-none-match", f'"{etag}"')])).status_code == 304
        assert (await get(product, key, bucket=bucket)).content == content, "again, out of the caches"
    for start, end in [
        (0, 0),
        (10, BLOCK_BYTES + 10),
        (BLOCK_BYTES, 2 * BLOCK_BYTES - 1),
        (2 * BLOCK_BYTES, len(FILM)),
    ]:
        part = await get(product, "films/café no.1.mp4", headers=[("range", f"bytes={start}-{end}")])
        assert part.status_code == 206
        assert part.content == FILM[start : end + 1]
    types = [(await get(product, key, bucket=bucket)).headers["content-type"] for _, bucket, key in files]
    assert types == ["image/png" if reads else "image/jpeg", "video/mp4", "text/html"]
    assert "<Key>a/picture.jpg</Key>" in (await product.send("GET", "", query="list-type=2")).text


async def test_times_and_privacy_are_as_wished(product: Product) -> None:
    ids = [await sent(product, PICTURE + bytes([number])) for number in range(4)]
    times = [1_600_000_000, 1_600_000_000_123, "2020-09-13 12:26:40", "2020-09-13T14:26:40+02:00"]
    rows = [(at, f"https://alone.test/{number}", ids[number]) for number, at in enumerate(times)]
    path = dump(product.folder, rows, "at, link, id")
    done = await imported(
        product, path, "--private", "--url-column", "link", "--file-id-column", "ID", "--time-column", "at"
    )
    assert done.status == 0, done
    for number in range(4):
        assert (await get(product, str(number), bucket=ALONE)).status_code == 403
        answer = await product.send("GET", str(number), bucket=ALONE)
        assert answer.content == PICTURE + bytes([number])
        assert answer.headers["last-modified"] == "Sun, 13 Sep 2020 12:26:40 GMT"


async def test_run_again_it_takes_nothing_and_with_more_wishes_it_completes(product: Product) -> None:
    ids = [await sent(product, content) for content in (PICTURE, FILM)]
    path = dump(product.folder, [(f"https://alone.test/{number}.jpg", ids[number]) for number in range(2)])
    assert (await imported(product, path)).summary["without_message"] == 2
    before = [await record_of(product, f"{number}.jpg", ALONE) for number in range(2)]
    product.standin.control.reset()
    again = await imported(product, path)
    assert (again.status, again.summary["there"], again.summary["taken"]) == (0, 2, 0)
    assert again.reasons == {}
    assert [record for record in product.standin.control.log() if record["method"] == "getfile"] == []
    assert [await record_of(product, f"{number}.jpg", ALONE) for number in range(2)] == before


async def test_completing_reads_and_anchors_what_was_taken_without(product: Product) -> None:
    ids = [await sent(product, content) for content in (PICTURE, FILM)]
    path = dump(product.folder, [(f"https://alone.test/{number}.jpg", ids[number]) for number in range(2)])
    assert (await imported(product, path)).status == 0
    before = [await record_of(product, f"{number}.jpg", ALONE) for number in range(2)]
    done = await imported(product, path, "--read", "--anchor")
    assert done.status == 0, done
    assert done.summary["completed"] == 2
    assert (done.summary["without_hashes"], done.summary["without_message"]) == (0, 0)
    assert product.sends() == 4
    for number, content in enumerate((PICTURE, FILM)):
        record = await record_of(product, f"{number}.jpg", ALONE)
        assert record.etag == hashlib.md5(content).hexdigest()
        assert record.last_modified_s == before[number].last_modified_s
        assert record.headers["content-type"] == ("image/png", "image/jpeg")[number]
        assert record.extents[0].document.chat_id == CHANNEL
        assert (await get(product, f"{number}.jpg", bucket=ALONE)).content == content
    third = await imported(product, path, "--read", "--anchor")
    assert (third.summary["there"], product.sends()) == (2, 4)


async def test_an_anchored_file_survives_its_file_id_and_another_does_not(product: Product) -> None:
    first, second = await sent(product, PICTURE), await sent(product, PICTURE[::-1])
    one = dump(product.folder, [("https://alone.test/anchored", first)], name="one.sql")
    two = dump(product.folder, [("https://alone.test/loose", second)], name="two.sql")
    assert (await imported(product, one, "--anchor")).status == 0
    assert (await imported(product, two)).status == 0
    for key, status in (("anchored", 200), ("loose", 503)):
        product.standin.control.clear_faults()
        product.standin.control.faults(
            {"match": {"method": "getFile"}, "times": 1, "action": {"kind": "invalid_file_id", "permanent": True}}
        )
        answer = await get(product, key, bucket=ALONE)
        assert answer.status_code == status
    assert (await get(product, "anchored", bucket=ALONE)).content == PICTURE


async def test_bytes_of_another_length_are_never_served(product: Product) -> None:
    path = dump(product.folder, [("https://alone.test/k", await sent(product, FILM))])
    assert (await imported(product, path)).status == 0
    product.standin.control.faults(
        {
            "match": {"method": "download"},
            "times": None,
            "action": {"kind": "truncate", "bytes": BLOCK_BYTES + 5, "honest_length": True},
        }
    )
    assert (await get(product, "k", bucket=ALONE)).status_code == 503
    product.standin.control.clear_faults()
    assert (await get(product, "k", bucket=ALONE)).content == FILM
    assert list((product.folder / "cache").glob("*/*")) == [], "what cannot be checked is not kept on disk"


async def test_what_cannot_be_taken_is_named_with_its_reason_and_the_rest_is_taken(product: Product) -> None:
    """One bot is configured here; the other one's file is a stranger's."""
    settings = (product.folder / "config.toml").read_text()
    config = product.folder / "one-bot.toml"
    config.write_text(settings.replace(f'"{BOT_A}", "{BOT_B}"', f'"{BOT_A}"'))
    assert config.read_text() != settings
    good, foreign = await sent(product, PICTURE), await sent(product, PICTURE, by=BOT_B)
    too_big = await sent(product, bytes((20 << 20) + 1))
    rows: list[Row] = [
        ("https://alone.test/good.png", good),
        ("https://alone.test/foreign", foreign),
        ("https://alone.test/too-big", too_big),
        ("https://alone.test/altered", "A" + good[1:-4]),
        ("https://alone.test/by-url", "https://elsewhere.example/picture.jpg"),
        ("https://alone.test/empty", ""),
        ("https://alone.test/none", None),
        ("https://elsewhere.test/k", good),
        (f"https://{HOST}/unknown/k", good),
        ("https://alone.test/", good),
        ("https://alone.test/" + "k" * 1025, good),
        ("https://alone.test/100%.jpg", good),
        ("https://user:password@alone.test/k", good),
        ("ftp://alone.test/k", good),
        ("nonsense \x1b[31m", good),
        (None, good),
        (5, good),
        ("https://alone.test/twice?v=1&X-Amz-Signature=secret", good),
        ("https://alone.test/twice?v=2", good),
        ("https://alone.test/two", foreign),
        ("http://alone.test/two", good),
    ]
    done = await imported(product, dump(product.folder, rows), config=config)
    assert done.status == 1
    assert done.summary["taken"] == 3
    assert done.summary["not_taken"] == 17
    assert (done.summary["repeated_rows"], done.summary["queries_dropped"]) == (1, 2)
    expected = {
        "https://alone.test/foreign": "none of the bots can read it",
        "https://alone.test/too-big": "20 MiB",
        "https://alone.test/altered": "none of the bots can read it",
        "https://alone.test/by-url": "no file_id",
        "https://alone.test/empty": "file_id is no text, or empty",
        "https://alone.test/none": "file_id is no text, or empty",
        "https://elsewhere.test/k": "none of the configured ones",
        f"https://{HOST}/unknown/k": "none of the configured ones",
        "https://alone.test/": "no key",
        "https://alone.test/" + "k" * 1025: "KeyTooLongError",
        "https://alone.test/100%.jpg": "InvalidURI",
        "https://alone.test/k": "user's name",
        "ftp://alone.test/k": "no URL of http or https",
        "nonsense \\x1b[31m": "no URL",
        "row 16": "its URL is no text",
        "row 17": "its URL is no text",
        "https://alone.test/two": "a later row has another file",
    }
    assert set(done.reasons) == set(expected)
    for url, reason in expected.items():
        assert reason in done.reasons[url][1]
    assert "secret" not in done.out + done.err
    assert "password" not in done.out + done.err
    for key in ("good.png", "twice", "two"):
        assert (await get(product, key, bucket=ALONE)).content == PICTURE


async def test_what_the_index_knows_is_left_alone(product: Product) -> None:
    await product.send("PUT", "written", bucket=ALONE, body=b"newer")
    await product.send("PUT", "deleted", bucket=ALONE, body=b"newer")
    await product.send("DELETE", "deleted", bucket=ALONE)
    file_id = await sent(product, PICTURE)
    path = dump(product.folder, [(f"https://alone.test/{key}", file_id) for key in ("written", "deleted", "free")])
    for wishes in ([], ["--read", "--anchor", "--prefer-import"]):
        done = await imported(product, path, *wishes)
        assert done.status == 0, done
        assert done.summary["kept"] == 2
        assert done.reasons["https://alone.test/written"][0] == "kept"
        assert "deleted here" in done.reasons["https://alone.test/deleted"][1]
        assert (await get(product, "free", bucket=ALONE)).content == PICTURE
        assert (await product.send("GET", "written", bucket=ALONE)).content == b"newer"
        assert isinstance(await product.state("deleted", ALONE), Tombstone)


async def test_a_write_after_the_import_stands_when_it_runs_again(product: Product) -> None:
    path = dump(product.folder, [("https://alone.test/k", await sent(product, PICTURE))])
    assert (await imported(product, path)).status == 0
    assert (await product.send("PUT", "k", bucket=ALONE, body=b"newer")).status_code == 200
    assert (await imported(product, path, "--read")).summary["kept"] == 1
    assert (await product.send("GET", "k", bucket=ALONE)).content == b"newer"
    assert (await product.send("DELETE", "k", bucket=ALONE)).status_code == 204
    assert (await imported(product, path, "--read")).summary["kept"] == 1
    assert (await get(product, "k", bucket=ALONE)).status_code in (403, 404)


async def test_keys_that_the_origin_holds_are_its_own_unless_the_import_is_preferred(
    product: Product, origin_server: OriginServer
) -> None:
    origin_server.put("both.png", b"at the origin")
    file_id = await sent(product, PICTURE)
    path = dump(product.folder, [(f"https://images.test/{key}", file_id) for key in ("both.png", "only.png")])
    done = await imported(product, path)
    assert done.status == 0
    assert (done.summary["taken"], done.summary["at_origin"]) == (1, 1)
    assert await product.state("both.png") is None
    assert (await get(product, "only.png")).content == PICTURE
    done = await imported(product, path, "--prefer-import")
    assert (done.status, done.summary["taken"]) == (0, 1)
    assert (await get(product, "both.png")).content == PICTURE


async def test_an_origin_that_does_not_answer_says_nothing_about_its_keys(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon.store.importer.LOOK_S", 0.01)
    product.origin.down = True
    path = dump(product.folder, [("https://images.test/k", await sent(product, PICTURE))])
    done = await imported(product, path)
    assert (done.status, done.summary["not_taken"]) == (1, 1)
    assert await product.state("k") is None


async def test_a_retired_origin_is_not_asked(product: Product) -> None:
    assert isinstance(product.index, SqlIndex)
    assert await product.index.retire(IMAGES, now_s=0, leave_skipped=False)
    product.origin.down = True
    path = dump(product.folder, [("https://images.test/k", await sent(product, PICTURE))])
    done = await imported(product, path)
    assert (done.status, done.summary["taken"]) == (0, 1)
    assert product.origin.requests == []


async def test_a_dry_run_says_what_would_be_and_changes_nothing(product: Product) -> None:
    rows = [("https://alone.test/k", await sent(product, PICTURE)), ("https://alone.test/bad", "no-file-id-at-all")]
    done = await imported(product, dump(product.folder, rows), "--dry-run", "--read", "--anchor")
    assert (done.status, done.summary["taken"], done.summary["not_taken"]) == (1, 1, 1)
    assert await product.state("k", ALONE) is None
    assert (product.sends(), product.downloads()) == (1, 0)


async def test_people_read_lines(product: Product) -> None:
    rows = [("https://alone.test/k", await sent(product, PICTURE)), ("https://alone.test/bad", "no-file-id-at-all")]
    done = await ended(await started(product, dump(product.folder, rows)))
    assert done.status == 1
    assert "not taken: https://alone.test/bad: none of the bots" in done.out
    assert "2 rows, 2 keys: 1 taken" in done.out
    assert "run it again with --read" in done.out


@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
async def test_ended_in_the_middle_and_run_again_everything_is_there_once(
    product: Product, how: signal.Signals, status: int
) -> None:
    contents = [random.Random(number).randbytes(1000 + number) for number in range(12)]
    ids = [await sent(product, content) for content in contents]
    path = dump(product.folder, [(f"https://alone.test/{number}", ids[number]) for number in range(12)])
    product.standin.control.faults(
        {"match": {"method": "getFile", "nth": 6}, "times": 1, "action": {"kind": "hang", "seconds": 60}}
    )
    process = await started(product, path, "--anchor", "--concurrency", "1", "--json")

    async def five_are_here() -> bool:
        return (await product.index.counts(ALONE))["objects"] == 5

    await eventually(five_are_here, 30.0)
    process.send_signal(how)
    assert (await ended(process)).status == status
    product.standin.control.clear_faults()
    done = await imported(product, path, "--anchor")
    assert (done.status, done.summary["taken"], done.summary["there"]) == (0, 7, 5)
    for number, content in enumerate(contents):
        assert (await get(product, str(number), bucket=ALONE)).content == content
    assert (await product.index.counts(ALONE))["objects"] == 12
    assert product.sends() == 24, "each was sent again once"
    assert await product.garbage() == set()
    assert list((product.folder / "spool").glob("import-*")) == [], "what a killed import left is cleared away"


async def test_an_import_that_is_stopped_while_it_reads_its_export_leaves_nothing(product: Product) -> None:
    tables = ", ".join(f"(SELECT {number} UNION ALL SELECT 2 UNION ALL SELECT 3)" for number in range(30))
    path = product.folder / "endless.sql"
    path.write_text(f"CREATE TABLE media (url, fileId);\nINSERT INTO media SELECT 1, 1 FROM {tables};\n")
    process = await started(product, path)
    await eventually(lambda: list(product.folder.glob("spool/import-*/import-*/dump.db")))
    beside = await imported(product, dump(product.folder, [("https://alone.test/k", await sent(product, PICTURE))]))
    assert beside.status == 0
    assert len(list(product.folder.glob("spool/import-*"))) == 1, "that of an import under way is left alone"
    process.send_signal(signal.SIGINT)
    assert (await ended(process)).status == 130
    assert list((product.folder / "spool").glob("import-*")) == []


async def test_a_telegram_that_is_away_ends_the_import_and_it_goes_on_later(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon.store.importer.PAUSE_S_MAX", 0.01)
    file_id = await sent(product, PICTURE)
    path = dump(product.folder, [(f"https://alone.test/{number}", file_id) for number in range(50)])
    product.standin.control.faults(
        {"match": {"method": "getFile"}, "times": None, "action": {"kind": "rate", "retry_after": 0}}
    )
    done = await imported(product, path, "--concurrency", "10")
    assert done.status == 1
    assert "attempts failed" in done.err
    assert done.summary["not_taken"] < 50
    product.standin.control.clear_faults()
    assert (await imported(product, path)).summary["taken"] == 50


async def test_an_export_that_cannot_be_read_changes_nothing(product: Product) -> None:
    path = dump(product.folder, [("https://alone.test/k", await sent(product, PICTURE))])
    path.write_text(path.read_text() + "INSERT INTO media VALUES ('https://alone.test/l',")
    for export in (path, product.folder / "missing.sql"):
        done = await ended(await started(product, export))
        assert done.status == 1
        assert str(export) in done.err
    assert (await product.index.counts(ALONE))["objects"] == 0
    assert list((product.folder / "spool").glob("import-*")) == []
