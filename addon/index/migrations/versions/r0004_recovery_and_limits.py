"""What Telegram has to know so that the index can be made again, sealed documents, second copies, shared limits, snapshots."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# A key is told anew when its object or tombstone is another one, when who may read it changes, or when its bytes lie elsewhere.
# But not while bytes of it wait on the local disk: there is nothing in Telegram yet that could be told of, until they have moved.
# They move from the first to the last, so the last ones are looked at first; and none, where nothing waits at all.
_TRIGGERS = (
    """
    CREATE TRIGGER tell_new_key AFTER INSERT ON keys BEGIN
        INSERT OR REPLACE INTO untold_keys (bucket, "key", generation, change)
        VALUES (NEW.bucket, NEW."key", NEW.generation, random());
    END
    """,
    """
    CREATE TRIGGER tell_changed_key AFTER UPDATE OF generation, anonymous_read ON keys
    WHEN NOT EXISTS (SELECT 1 FROM documents WHERE file_id = '') OR NOT EXISTS (
        SELECT 1 FROM extents JOIN documents ON documents.document_id = extents.document_id
        WHERE extents.bucket = NEW.bucket AND extents."key" = NEW."key" AND documents.file_id = ''
        ORDER BY extents.position DESC LIMIT 1
    )
    BEGIN
        INSERT OR REPLACE INTO untold_keys (bucket, "key", generation, change)
        VALUES (NEW.bucket, NEW."key", NEW.generation, random());
    END
    """,
    """
    CREATE TRIGGER tell_gone_key AFTER DELETE ON keys BEGIN
        INSERT OR REPLACE INTO untold_keys (bucket, "key", generation, change)
        VALUES (OLD.bucket, OLD."key", OLD.generation, random());
    END
    """,
    """
    CREATE TRIGGER wait_with_spooled_extent AFTER INSERT ON extents
    WHEN (SELECT file_id FROM documents WHERE document_id = NEW.document_id) = '' BEGIN
        DELETE FROM untold_keys WHERE bucket = NEW.bucket AND "key" = NEW."key";
    END
    """,
    """
    CREATE TRIGGER tell_moved_extent AFTER UPDATE ON extents
    WHEN NOT EXISTS (SELECT 1 FROM documents WHERE file_id = '') OR NOT EXISTS (
        SELECT 1 FROM extents JOIN documents ON documents.document_id = extents.document_id
        WHERE extents.bucket = NEW.bucket AND extents."key" = NEW."key" AND documents.file_id = ''
        ORDER BY extents.position DESC LIMIT 1
    )
    BEGIN
        INSERT OR REPLACE INTO untold_keys (bucket, "key", generation, change)
        SELECT bucket, "key", generation, random() FROM keys WHERE bucket = NEW.bucket AND "key" = NEW."key";
    END
    """,
)


def upgrade() -> None:
    """All keys of before are untold: no document tells their states."""
    op.add_column("documents", sa.Column("key_id", sa.Text, nullable=False, server_default=""))
    op.add_column("documents", sa.Column("segment_bytes", sa.Integer, nullable=False, server_default="0"))
    op.add_column("documents", sa.Column("tells_states", sa.Boolean, nullable=False, server_default="0"))
    is_spooled = sa.text("file_id = ''")
    op.create_index(
        "documents_spooled",
        "documents",
        ["created_at_s", "document_id"],
        sqlite_where=is_spooled,
        postgresql_where=is_spooled,
    )
    op.create_table(
        "document_copies",
        sa.Column("document_id", sa.Text, _of_document(), primary_key=True),
        sa.Column("chat_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("message_id", sa.BigInteger, nullable=False),
        sa.Column("bot_id", sa.BigInteger, nullable=False),
        sa.Column("file_id", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "document_file_ids",
        sa.Column("document_id", sa.Text, _of_document(), primary_key=True),
        sa.Column("bot_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("file_id", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "untold_keys",
        sa.Column("bucket", sa.Text, primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False, server_default="0"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "packs_under_way",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("process_id", sa.Text, nullable=False),
        sa.Column("began_at_s", sa.Float, nullable=False),
    )
    _create_tables_of_limits()
    _prepare_erasure()
    op.create_table(
        "snapshots",
        sa.Column("snapshot_id", sa.Text, primary_key=True),
        sa.Column("began_at_s", sa.Float, nullable=False),
        sa.Column("taken_at_s", sa.Float),
        sa.Column("objects", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("messages", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute('INSERT INTO untold_keys (bucket, "key", generation) SELECT bucket, "key", generation FROM keys')
    for trigger in _TRIGGERS:
        op.execute(trigger)


def _of_document() -> sa.ForeignKey:
    return sa.ForeignKey("documents.document_id", ondelete="CASCADE")


def _create_tables_of_limits() -> None:
    op.create_table(
        "telegram_sends",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("process_id", sa.Text, nullable=False),
        sa.Column("bot_id", sa.BigInteger, nullable=False),
        sa.Column("chat_id", sa.BigInteger, nullable=False),
        sa.Column("upload_bytes", sa.BigInteger, nullable=False),
        sa.Column("began_at_s", sa.Float, nullable=False),
        sa.Column("ended_at_s", sa.Float),
    )
    op.create_index("telegram_sends_by_pair", "telegram_sends", ["bot_id", "chat_id", "began_at_s"])
    op.create_table(
        "telegram_pairs",
        sa.Column("bot_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("chat_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("paused_until_s", sa.Float, nullable=False, server_default="0"),
        sa.Column("limited_at_s", sa.Float, nullable=False, server_default="0"),
        sa.Column("learnt_per_min", sa.Float),
        sa.Column("aside_since_s", sa.Float),
        sa.Column("aside_until_s", sa.Float, nullable=False, server_default="0"),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "telegram_chats",
        sa.Column("chat_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("moved_to", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "telegram_processes",
        sa.Column("process_id", sa.Text, primary_key=True),
        sa.Column("seen_at_s", sa.Float, nullable=False),
    )


def _prepare_erasure() -> None:
    op.add_column("documents", sa.Column("only_tells", sa.Boolean, nullable=False, server_default="0"))
    op.add_column("documents", sa.Column("dead_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("documents_by_dead_bytes", "documents", ["dead_bytes"])
    op.create_table(
        "erasures",
        sa.Column("document_id", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("leased_until_s", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.Column("ended_at_s", sa.Float),
        sqlite_with_rowid=False,
    )
    op.create_index("erasures_by_end", "erasures", ["ended_at_s"])
