"""The counter that numbers generations, jobs and writes: no number is ever given twice."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select, update

from addon.index.tables import COUNTER_NAME, counters

_NEXT_NUMBERS = (
    update(counters).where(counters.c.name == COUNTER_NAME).values(value=counters.c.value + bindparam("how_many"))
)
_NUMBER = select(counters.c.value).where(counters.c.name == COUNTER_NAME)


def current_number(connection: Connection) -> int:
    """The number that was given last."""
    return int(connection.execute(_NUMBER).scalar_one())


def next_number(connection: Connection) -> int:
    """A number that was never given before."""
    return next_numbers(connection, 1)


def next_numbers(connection: Connection, how_many: int) -> int:
    """The first of so many numbers in a row. Two statements, as not every SQLite in use knows RETURNING."""
    connection.execute(_NEXT_NUMBERS, {"how_many": how_many})
    return int(connection.execute(_NUMBER).scalar_one()) - how_many + 1
