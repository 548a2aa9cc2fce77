"""What the database library raises, as the error of the port."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from addon.store.ports import IndexUnavailable


def unavailable(action: str, error: Exception) -> IndexUnavailable:
    """The error of the port for one of the library, with the driver's own words. Statements and their values stay out of it."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    words = str(cause) if isinstance(error, DBAPIError | OSError) else type(error).__name__
    return IndexUnavailable(f"the index cannot be {action}: {words}")


@contextlib.contextmanager
def mapped(action: str) -> Iterator[None]:
    """Raise `IndexUnavailable` in place of the library's errors. `action` completes "the index cannot be …"."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise unavailable(action, error) from error
