"""The account of what all processes send. Each function runs within one transaction; `now_s` is wall time.

A message that was begun and never ended counts as if it had ended when the longest time that it may take was over: so a process
that died blocks nobody for long. What is dated later than a window from now was written before the clock was set back, and does
not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, and_, bindparam, case, delete, func, insert, or_, select, update

from addon.index.numbers import next_number
from addon.index.tables import telegram_chats, telegram_pairs, telegram_processes, telegram_sends
from addon.store.send_ledger import (
    EQUAL_SIZE_BYTES_MIN,
    EQUAL_SIZE_WINDOW_S,
    LOWER_AGAIN_S_MIN,
    PROCESS_SEEN_S_MAX,
    SEND_LASTS_S_MAX,
    UPLOAD_BYTES_PER_S_MIN,
    Account,
    EndedSend,
    PairFacts,
    PairToAsk,
    Rate,
    SendAnswer,
    SendRequest,
    Use,
    learnt_rate,
    lowered_per_min,
)

# The longest window of any rate: what ended before it is forgotten.
WINDOW_S_MAX = 60.0
# How long to wait where only the end of another process's message can tell.
UNDER_WAY_S = 0.25

_Pair = tuple[int, int]

_SENDS = telegram_sends.c
_LASTS_UNTIL_S = _SENDS.began_at_s + SEND_LASTS_S_MAX + _SENDS.upload_bytes / float(UPLOAD_BYTES_PER_S_MIN)
_PAIRS = select(telegram_pairs).order_by(telegram_pairs.c.bot_id, telegram_pairs.c.chat_id)
_PAUSED = select(telegram_pairs).where(telegram_pairs.c.paused_until_s > bindparam("now_s"))
_END_S = func.coalesce(_SENDS.ended_at_s, _LASTS_UNTIL_S)

_IS_UNDER_WAY = and_(_SENDS.ended_at_s.is_(None), bindparam("now_s") < _LASTS_UNTIL_S)
_USES = (
    select(
        _SENDS.bot_id,
        _SENDS.chat_id,
        func.count(),
        func.sum(case((_IS_UNDER_WAY, 1), else_=0)),
        func.min(case((_IS_UNDER_WAY, None), else_=_END_S)),
        func.max(_SENDS.began_at_s),
    )
    .where(bindparam("from_s") < _END_S, bindparam("to_s") > _SENDS.began_at_s)
    .group_by(_SENDS.bot_id, _SENDS.chat_id)
)


def begin_send(connection: Connection, request: SendRequest, ended: Sequence[EndedSend], now_s: float) -> SendAnswer:
    """See `SendLedger.begin_send`."""
    _enter_ends(connection, ended, now_s)
    account = account_of(connection, request.process_id, now_s)
    uses: dict[float, Mapping[_Pair, Use]] = {}
    for window_s in {request.bot_rate.window_s, *(pair.rate.window_s for pair in request.pairs)}:
        uses[window_s] = _uses(connection, window_s, now_s)
    waits_s: dict[_Pair, float] = {}
    size_waits_s: dict[int, float] = {}
    for pair in request.pairs:
        wait_s = _free_at_s(uses, account, pair, request.bot_rate, now_s) - now_s
        size_wait_s = _size_free_at_s(connection, pair.bot_id, request.upload_bytes, now_s) - now_s
        if max(wait_s, size_wait_s) <= 0:
            number = _enter(connection, request, pair, now_s)
            return SendAnswer(number, pair.bot_id, pair.chat_id, {}, {}, account)
        if wait_s > 0:
            waits_s[pair.bot_id, pair.chat_id] = UNDER_WAY_S if math.isinf(wait_s) else wait_s
        if size_wait_s > 0:
            size_waits_s[pair.bot_id] = UNDER_WAY_S if math.isinf(size_wait_s) else size_wait_s
    return SendAnswer(None, 0, 0, waits_s, size_waits_s, account)


def end_sends(connection: Connection, process_id: str, ended: Sequence[EndedSend], now_s: float) -> None:
    """See `SendLedger.end_sends`. Here, and not before each message, goes what is over."""
    _enter_ends(connection, ended, now_s)
    is_over = or_(now_s - WINDOW_S_MAX >= _END_S, _SENDS.began_at_s > now_s + WINDOW_S_MAX)
    connection.execute(delete(telegram_sends).where(is_over))
    seen = telegram_processes.c.seen_at_s
    is_gone = or_(seen < now_s - PROCESS_SEEN_S_MAX, seen > now_s + PROCESS_SEEN_S_MAX)
    connection.execute(delete(telegram_processes).where(is_gone))
    _put(connection, telegram_processes, {"process_id": process_id}, {"seen_at_s": now_s})


def _enter_ends(connection: Connection, ended: Sequence[EndedSend], now_s: float) -> None:
    for one in ended:
        here = _SENDS.number == one.number
        if one.counted:
            connection.execute(update(telegram_sends).where(here).values(ended_at_s=now_s - one.ago_s))
        else:
            connection.execute(delete(telegram_sends).where(here))


def leave(connection: Connection, process_id: str) -> None:
    """See `SendLedger.leave`."""
    connection.execute(delete(telegram_processes).where(telegram_processes.c.process_id == process_id))


def account_of(connection: Connection, process_id: str, now_s: float) -> Account:
    """See `SendLedger.account`."""
    others = connection.execute(
        select(_SENDS.bot_id, _SENDS.chat_id, func.count())
        .where(_SENDS.process_id != process_id, now_s - WINDOW_S_MAX < _END_S)
        .group_by(_SENDS.bot_id, _SENDS.chat_id)
    )
    of_others = {(bot_id, chat_id): count for bot_id, chat_id, count in others}
    moved = {row.chat_id: row.moved_to for row in connection.execute(select(telegram_chats))}
    processes = connection.execute(
        select(func.count())
        .select_from(telegram_processes)
        .where(
            telegram_processes.c.process_id != process_id, telegram_processes.c.seen_at_s >= now_s - PROCESS_SEEN_S_MAX
        )
    ).scalar_one()
    return Account(facts_of_pairs(connection, now_s), of_others, moved, processes + 1)


def pauses(connection: Connection, now_s: float) -> list[PairFacts]:
    """See `SendLedger.pauses`."""
    return _facts_of(connection.execute(_PAUSED, {"now_s": now_s}), now_s)


def facts_of_pairs(connection: Connection, now_s: float) -> list[PairFacts]:
    """What is known of every pair."""
    return _facts_of(connection.execute(_PAIRS), now_s)


def _facts_of(rows: Iterable[Row[Any]], now_s: float) -> list[PairFacts]:
    return [
        PairFacts(
            bot_id=row.bot_id,
            chat_id=row.chat_id,
            paused_s=max(0.0, row.paused_until_s - now_s),
            learnt_per_min=row.learnt_per_min,
            limited_ago_s=now_s - row.limited_at_s,
            aside_for_s=None if row.aside_since_s is None else max(0.0, now_s - row.aside_since_s),
            aside_left_s=max(0.0, row.aside_until_s - now_s),
            reason=row.reason,
        )
        for row in rows
    ]


def pause_sends(
    connection: Connection, bot_id: int, chat_id: int, duration_s: float, rate: Rate | None, now_s: float
) -> None:
    """See `SendLedger.pause_sends`. What was refused together with another message taught that already."""
    facts = _facts(connection, bot_id, chat_id, now_s)
    values: dict[str, float] = {"paused_until_s": now_s + max(duration_s, facts.paused_s)}
    if rate is not None and facts.limited_ago_s >= LOWER_AGAIN_S_MIN:
        held = learnt_rate(rate, facts.learnt_per_min, facts.limited_ago_s)
        values |= {"learnt_per_min": lowered_per_min(held), "limited_at_s": now_s}
    _put_pair(connection, bot_id, chat_id, values)


def set_pair_aside(
    connection: Connection, bot_id: int, chat_id: int, duration_s: float, reason: str, now_s: float
) -> None:
    """See `SendLedger.set_pair_aside`."""
    facts = _facts(connection, bot_id, chat_id, now_s)
    values = {
        "aside_since_s": now_s - (facts.aside_for_s or 0.0),
        "aside_until_s": now_s + max(duration_s, facts.aside_left_s),
        "reason": reason,
    }
    _put_pair(connection, bot_id, chat_id, values)


def take_pair_up(connection: Connection, bot_id: int, chat_id: int) -> None:
    """See `SendLedger.take_pair_up`."""
    columns = telegram_pairs.c
    connection.execute(
        update(telegram_pairs)
        .where(columns.bot_id == bot_id, columns.chat_id == chat_id)
        .values(aside_since_s=None, aside_until_s=0.0, reason="")
    )


def chat_moved(connection: Connection, chat_id: int, new_chat_id: int) -> None:
    """See `SendLedger.chat_moved`."""
    _put(connection, telegram_chats, {"chat_id": chat_id}, {"moved_to": new_chat_id})


def _free_at_s(
    uses: Mapping[float, Mapping[_Pair, Use]], account: Account, pair: PairToAsk, bot_rate: Rate, now_s: float
) -> float:
    """When the pair may send by its window, its bot's, and their pauses."""
    free_at_s = uses[bot_rate.window_s].get((pair.bot_id, 0), Use()).earliest_s(bot_rate, now_s)
    rate = pair.rate
    for facts in account.pairs:
        if facts.bot_id == pair.bot_id and facts.chat_id in (0, pair.chat_id):
            free_at_s = max(free_at_s, now_s + facts.paused_s)
        if (facts.bot_id, facts.chat_id) == (pair.bot_id, pair.chat_id):
            rate = learnt_rate(rate, facts.learnt_per_min, facts.limited_ago_s)
    use = uses[pair.rate.window_s].get((pair.bot_id, pair.chat_id), Use())
    return max(free_at_s, use.earliest_s(rate, now_s))


def _uses(connection: Connection, window_s: float, now_s: float) -> Mapping[_Pair, Use]:
    """What counts in the window that ends now: of each bot and chat, and with chat 0 of each bot."""
    rows = connection.execute(_USES, {"now_s": now_s, "from_s": now_s - window_s, "to_s": now_s + WINDOW_S_MAX})
    uses: dict[_Pair, Use] = {}
    for bot_id, chat_id, count, in_flight, oldest_end_s, last_start_s in rows:
        oldest_s = math.inf if oldest_end_s is None else oldest_end_s
        for pair in ((bot_id, chat_id), (bot_id, 0)):
            former = uses.get(pair, Use())
            uses[pair] = Use(
                former.in_flight + in_flight,
                former.ended + count - in_flight,
                min(former.oldest_end_s, oldest_s),
                max(former.last_start_s, last_start_s),
            )
    return uses


def _size_free_at_s(connection: Connection, bot_id: int, upload_bytes: int, now_s: float) -> float:
    if upload_bytes <= EQUAL_SIZE_BYTES_MIN:
        return now_s
    rows = connection.execute(
        select(_SENDS.ended_at_s).where(
            _SENDS.bot_id == bot_id, _SENDS.upload_bytes == upload_bytes, now_s - EQUAL_SIZE_WINDOW_S < _END_S
        )
    )
    return max((math.inf if end_s is None else end_s + EQUAL_SIZE_WINDOW_S for (end_s,) in rows), default=now_s)


def _enter(connection: Connection, request: SendRequest, pair: PairToAsk, now_s: float) -> int:
    number = next_number(connection)
    connection.execute(
        insert(telegram_sends),
        {
            "number": number,
            "process_id": request.process_id,
            "bot_id": pair.bot_id,
            "chat_id": pair.chat_id,
            "upload_bytes": request.upload_bytes,
            "began_at_s": now_s,
            "ended_at_s": None,
        },
    )
    return number


def _facts(connection: Connection, bot_id: int, chat_id: int, now_s: float) -> PairFacts:
    found = (one for one in facts_of_pairs(connection, now_s) if (one.bot_id, one.chat_id) == (bot_id, chat_id))
    return next(found, PairFacts(bot_id, chat_id))


def _put_pair(connection: Connection, bot_id: int, chat_id: int, values: Mapping[str, object]) -> None:
    _put(connection, telegram_pairs, {"bot_id": bot_id, "chat_id": chat_id}, values)


def _put(connection: Connection, table: Table, key: Mapping[str, object], values: Mapping[str, object]) -> None:
    """Change the row with this key, or add it."""
    is_it = and_(*(table.c[name] == value for name, value in key.items()))
    if not connection.execute(update(table).where(is_it).values(**values)).rowcount:
        connection.execute(insert(table), {**key, **values})
