"""What `tgstore status` says of bots and chats: what is set aside and why, what was learnt of limits, what lacks a second copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from addon.commands.output import duration_text, printable, size_text
from addon.config import Config
from addon.index.sql_index import SqlIndex
from addon.store.migration import Amount
from addon.store.send_ledger import PairFacts, counting_chats


@dataclass(frozen=True, slots=True)
class TelegramStatus:
    """`facts` of configured pairs of which something is known; `lacking` is None where one copy is all that is wanted."""

    facts: Sequence[PairFacts]
    moved_chats: Mapping[int, int]
    lacking: Amount | None

    def as_json(self) -> Mapping[str, Any]:
        """For machines: lengths of time in seconds."""
        lacking = None if self.lacking is None else {"documents": self.lacking.objects, "size": self.lacking.size}
        return {
            "pairs": [
                {
                    "bot": one.bot_id,
                    "chat": one.chat_id,
                    "aside_for_s": one.aside_for_s,
                    "reason": one.reason,
                    "paused_s": one.paused_s,
                    "learnt_per_min": one.learnt_per_min,
                }
                for one in self.facts
            ],
            "moved_chats": {str(chat_id): new_id for chat_id, new_id in self.moved_chats.items()},
            "lacking_copies": lacking,
        }

    def lines(self) -> list[str]:
        """For people; nothing where there is nothing to say."""
        lines = []
        for one in self.facts:
            who = f"bot {one.bot_id} in chat {one.chat_id}"
            if one.aside_for_s is not None:
                lines.append(f"{who}: set aside since {duration_text(one.aside_for_s)}: {printable(one.reason)}")
            if one.paused_s > 0:
                who = who if one.chat_id else f"bot {one.bot_id}"
                lines.append(f"{who}: Telegram asked for a pause of {duration_text(one.paused_s)} more")
        for chat_id, new_id in self.moved_chats.items():
            lines.append(f"chat {chat_id} is {new_id} now: put that into [telegram] chat_ids")
        if self.lacking is not None:
            more = ": tgstore repair restores them" if self.lacking.objects else ""
            lines.append(
                f"documents without a second copy: {self.lacking.objects} ({size_text(self.lacking.size)}){more}"
            )
        return lines


async def telegram_status(config: Config, index: SqlIndex) -> TelegramStatus:
    """What the index knows now. Raises `IndexUnavailable`."""
    bot_ids = [int(token.get_secret_value().partition(":")[0]) for token in config.telegram.bot_tokens]
    account = await index.account("")
    moved = {old: new for old, new in account.moved_chats.items() if old in config.telegram.chat_ids}
    lacking = None
    if config.store.copies > 1:
        chats = counting_chats(account, bot_ids, config.telegram.chat_ids)
        lacking = await index.lacking_amount(chats, config.store.copies)
    configured = {0, *config.telegram.chat_ids, *moved.values()}
    facts = [
        one
        for one in account.pairs
        if one.bot_id in bot_ids
        and one.chat_id in configured
        and (one.aside_for_s is not None or one.paused_s > 0 or one.learnt_per_min is not None)
    ]
    return TelegramStatus(facts, moved, lacking)
