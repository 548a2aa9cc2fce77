"""The port `SendLedger`, as the part of `SqlIndex` that it is."""

from __future__ import annotations

from collections.abc import Sequence

from addon.index import send_ledger
from addon.index.migration_calls import MigrationCalls
from addon.store.send_ledger import Account, EndedSend, PairFacts, Rate, SendAnswer, SendRequest


class LedgerCalls(MigrationCalls):
    """Implements `addon.store.send_ledger.SendLedger`; see there for what each method promises."""

    async def begin_send(self, request: SendRequest, ended: Sequence[EndedSend]) -> SendAnswer:
        return await self._writer.run(
            lambda connection: send_ledger.begin_send(connection, request, tuple(ended), self._now_s())
        )

    async def end_sends(self, process_id: str, ended: Sequence[EndedSend]) -> None:
        await self._write(send_ledger.end_sends, process_id, tuple(ended), self._now_s())

    async def account(self, process_id: str) -> Account:
        now_s = self._now_s()
        return await self._reader.point(lambda connection: send_ledger.account_of(connection, process_id, now_s))

    async def pauses(self) -> Sequence[PairFacts]:
        now_s = self._now_s()
        return await self._reader.point(lambda connection: send_ledger.pauses(connection, now_s))

    async def leave(self, process_id: str) -> None:
        await self._write(send_ledger.leave, process_id)

    async def pause_sends(self, bot_id: int, chat_id: int, duration_s: float, *, rate: Rate | None = None) -> None:
        await self._write(send_ledger.pause_sends, bot_id, chat_id, duration_s, rate, self._now_s())

    async def set_pair_aside(self, bot_id: int, chat_id: int, duration_s: float, reason: str) -> None:
        await self._write(send_ledger.set_pair_aside, bot_id, chat_id, duration_s, reason, self._now_s())

    async def take_pair_up(self, bot_id: int, chat_id: int) -> None:
        await self._write(send_ledger.take_pair_up, bot_id, chat_id)

    async def chat_moved(self, chat_id: int, new_chat_id: int) -> None:
        await self._write(send_ledger.chat_moved, chat_id, new_chat_id)
