"""Brings a database to the revision that the code needs, when it is opened."""

from __future__ import annotations

import threading
from functools import cache

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from addon.store.ports import IndexUnavailable

# Alembic keeps what it works on in its modules, so one thread at a time.
_ALEMBIC = threading.Lock()


def migrations_config() -> Config:
    """Alembic's configuration without a file of its own; also found when the project is installed as a package."""
    config = Config()
    config.set_main_option("script_location", "addon.index:migrations")
    return config


@cache
def _revisions() -> tuple[str | None, frozenset[str]]:
    """The newest revision, and all of them. Alembic executes every migration's file to find that out."""
    scripts = ScriptDirectory.from_config(migrations_config())
    return scripts.get_current_head(), frozenset(script.revision for script in scripts.walk_revisions())


def head_revision() -> str:
    """The revision that the code needs."""
    head = _revisions()[0]
    if head is None:
        raise IndexUnavailable("the installation is incomplete: the index's migrations are missing")
    return head


def upgrade(connection: Connection) -> None:
    """Run what is missing, within the transaction that `connection` has begun: of several processes that open a database at once
    one migrates, and the others find it done. Raises IndexUnavailable where the database is newer than the code."""
    head, known = _revisions()
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        raise IndexUnavailable(
            f"the index has schema revision {current}, which this version does not know (it knows up to {head_revision()}): "
            "it was written by a newer version; use that one, or restore a backup of the index"
        )
    if current == head:
        return
    config = migrations_config()
    config.attributes["connection"] = connection
    with _ALEMBIC:
        command.upgrade(config, "head")
