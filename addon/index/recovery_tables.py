"""Tables of an index that is being recovered, beside its own; they go when it is done."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text

recovery_metadata = MetaData()

# One row: the snapshot, as JSON (null: there is none), and what is known of packs by it.
plans = Table(
    "recovery_plan",
    recovery_metadata,
    Column("plan_id", Integer, primary_key=True, autoincrement=False),
    Column("snapshot", Text),
    Column("number", BigInteger, nullable=False),
    Column("under_way", Text, nullable=False),
    # The counter goes on above this, whatever the messages tell.
    Column("number_floor", BigInteger, nullable=False),
    Column("identity", BigInteger),
)

chats = Table(
    "recovery_chats",
    recovery_metadata,
    Column("chat_id", BigInteger, primary_key=True, autoincrement=False),
    Column("first", BigInteger, nullable=False),
    Column("next", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
)

# Those that the messages had and the snapshot did not know.
found_documents = Table(
    "recovery_documents",
    recovery_metadata,
    Column("document_id", Text, primary_key=True),
    sqlite_with_rowid=False,
)

packs = Table(
    "recovery_packs",
    recovery_metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("document_id", Text, nullable=False),
    Column("settled_up_to", BigInteger, nullable=False),
    Column("as_of", BigInteger, nullable=False),
    Column("under_way", Text, nullable=False),
    Index("recovery_packs_by_document_id", "document_id"),
)

states = Table(
    "recovery_states",
    recovery_metadata,
    Column("bucket", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("telling", BigInteger, primary_key=True, autoincrement=False),
    Column("piece", Integer, primary_key=True, autoincrement=False),
    Column("pack_number", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("gone", Integer, nullable=False),
    Column("text", Text, nullable=False),
    sqlite_with_rowid=False,
)

items = Table(
    "recovery_items",
    recovery_metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("bucket", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Index("recovery_items_by_key", "bucket", "key"),
    sqlite_with_rowid=False,
)

# How many there were of what is only counted.
counts = Table(
    "recovery_counts",
    recovery_metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

notes = Table(
    "recovery_notes",
    recovery_metadata,
    Column("note", Text, primary_key=True),
    sqlite_with_rowid=False,
)
