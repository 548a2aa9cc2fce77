"""`tgstore recover`: make the index again from the chats."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable

from addon.commands.output import duration_text, errors, printable, say, say_json, size_text
from addon.config import Config
from addon.index.recovery_calls import SqlRecoveryPlace
from addon.storage import telegram_of
from addon.store.captions import open_caption
from addon.store.recovery import Outlook, Progress, Recovery
from addon.store.recovery_index import Recovered
from addon.store.sealed_documents import SealedDocuments
from addon.store.sealing import MasterKeys
from addon.store.snapshot_restore import SnapshotSource

READ_WAIT_S_MAX = 120.0
# Of what has no place so much is named to people; all of it to machines.
NAMED_MAX = 20
# Without a terminal, progress is said so often.
PROGRESS_LINE_S = 30.0

NOT_BROUGHT_BACK = (
    "Not brought back: multipart uploads that were begun since the snapshot (clients begin them again), copies that were ordered "
    "(the next read or `tgstore migrate` orders them), and, without a snapshot, which buckets are retired (`tgstore retire`) and "
    "what was imported without a message. What was deleted in the last half minute may be there again."
)


@contextlib.asynccontextmanager
async def recovery_of(
    config: Config, *, with_snapshots: bool, take_untold: bool, report: Callable[[Progress], None]
) -> AsyncIterator[Recovery]:
    """A recovery with these settings."""
    telegram = telegram_of(config, read_wait_s_max=READ_WAIT_S_MAX)
    keys = MasterKeys(*config.sealing_keys)
    read_caption = functools.partial(open_caption, keys)
    documents = SealedDocuments(telegram, keys, config.service.spool_dir)
    try:
        yield Recovery(
            telegram.scan,
            SnapshotSource(telegram.scan, telegram.pins, documents, read_caption),
            read_caption,
            SqlRecoveryPlace(config.index.url),
            with_snapshots=with_snapshots,
            take_untold=take_untold,
            report=report,
        )
    finally:
        await telegram.close()


async def recover(config: Config, *, with_snapshots: bool, take_untold: bool, dry_run: bool, as_json: bool) -> bool:
    """Recover, and say what came of it. False where something could not be brought back."""
    teller = _Teller(as_json=as_json)
    wish = {"with_snapshots": with_snapshots, "take_untold": take_untold}
    async with recovery_of(config, **wish, report=teller.tell) as recovery:
        if dry_run:
            _say_outlook(await recovery.look(), as_json=as_json)
            return True
        recovered = await recovery.run()
    if as_json:
        say_json(summary_json(recovered))
    else:
        for line in lines_of(recovered):
            say(line)
    return not (recovered.lost or recovered.unreadable)


class _Teller:
    """Says how far it is: in place on a terminal, else a line now and then; to machines nothing but JSON lines."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._last_s = float("-inf")

    def tell(self, progress: Progress) -> None:
        now_s = asyncio.get_running_loop().time()
        if progress.left and now_s - self._last_s < (1.0 if errors.is_terminal else PROGRESS_LINE_S):
            return
        self._last_s = now_s
        if self._as_json:
            say_json({"event": "progress", **progress_json(progress)})
        else:
            errors.print(progress_text(progress), end="\r" if errors.is_terminal and progress.left else "\n")


def progress_json(progress: Progress) -> dict[str, object]:
    """For machines."""
    return {
        "doing": progress.doing,
        "read": progress.read,
        "left": progress.left,
        "documents": progress.documents,
        "packs": progress.packs,
        "per_min": round(progress.per_min, 1),
    }


def progress_text(progress: Progress) -> str:
    """For people."""
    if not progress.read and not progress.left:
        return progress.doing
    text = f"{progress.doing}: {progress.read} messages read, {progress.left} left, {progress.documents} documents"
    if progress.left and progress.per_min > 0:
        left_text = duration_text(60 * progress.left / progress.per_min)
        text += f"; {progress.per_min:.0f} a minute, {left_text} to go"
    return text


def _say_outlook(outlook: Outlook, *, as_json: bool) -> None:
    count = sum(chat.left for chat in outlook.to_read)
    minutes = count / outlook.messages_per_min if outlook.messages_per_min else 0.0
    if as_json:
        mark = outlook.snapshot.mark if outlook.snapshot is not None else None
        say_json(
            {
                "event": "outlook",
                "snapshot": mark and {"id": mark.snapshot_id, "objects": mark.objects},
                "messages": {chat.chat_id: chat.left for chat in outlook.to_read},
                "minutes": round(minutes, 1),
            }
        )
        return
    if outlook.snapshot is None:
        say("No saved index is pinned: everything is read from the messages.")
    else:
        say(f"A saved index with {outlook.snapshot.mark.objects} objects is pinned.")
    for chat in outlook.to_read:
        say(f"Chat {chat.chat_id}: messages {chat.first} to {chat.last}, {chat.left} at most are to be read.")
    say(f"That takes about {duration_text(60 * minutes)} within Telegram's limits. Nothing was changed.")


def summary_json(recovered: Recovered) -> dict[str, object]:
    """For machines."""
    told: dict[str, object] = {
        name: getattr(recovered, name)
        for name in (
            *(
                "objects",
                "tombstones",
                "size",
                "documents",
                "copies",
                "repeated",
                "packs",
                "states",
                "items",
                "foreign",
            ),
            *("holes", "unplaced_documents", "open_parts", "untold", "spooled_only"),
        )
    }
    lost = [
        {"bucket": one.bucket, "key": one.key, "size": one.size, "missing": list(one.missing)} for one in recovered.lost
    ]
    return {"event": "summary", **told, "lost": lost, "unreadable": list(recovered.unreadable)}


def lines_of(recovered: Recovered) -> list[str]:
    """For people."""
    lines = [
        f"The index is there: {recovered.objects} objects ({size_text(recovered.size)}), {recovered.tombstones} deleted keys.",
        f"Read: {recovered.documents} documents, {recovered.copies} second copies, {recovered.packs} packs; "
        f"{recovered.states} states and {recovered.items} objects that no state told were applied.",
    ]
    without_place = [
        (recovered.foreign, "messages are not ours"),
        (recovered.repeated, "messages repeat a document"),
        (recovered.unplaced_documents, "documents are used by nothing"),
        (recovered.open_parts, "parts belong to uploads that nobody completed"),
        (
            recovered.untold,
            "objects in packs were never acknowledged, or what told of them is gone; --take-untold takes them",
        ),
        (recovered.spooled_only, "objects were on the local disk only, and are lost unless the spool folder is there"),
    ]
    lines += [f"Without a place: {count} {what}." for count, what in without_place if count]
    for lost in recovered.lost[:NAMED_MAX]:
        lines.append(
            f"LOST {lost.bucket}/{printable(lost.key)} ({size_text(lost.size)}): no chat has {', '.join(lost.missing)}"
        )
    if len(recovered.lost) > NAMED_MAX:
        lines.append(f"LOST and {len(recovered.lost) - NAMED_MAX} more; --json names all.")
    lines += [f"NOT READ {printable(text)}" for text in recovered.unreadable[:NAMED_MAX]]
    return [*lines, NOT_BROUGHT_BACK]
