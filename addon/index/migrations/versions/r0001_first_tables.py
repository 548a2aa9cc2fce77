"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Objects, documents, extents."""
    op.create_table(
        "keys",
        sa.Column("bucket", sa.Text, primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("modified_at_s", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("provenance", sa.Text, nullable=False),
        sa.Column("anonymous_read", sa.Boolean, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("checksums", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "documents",
        sa.Column("document_id", sa.Text, primary_key=True),
        sa.Column("chat_id", sa.BigInteger, nullable=False),
        sa.Column("message_id", sa.BigInteger, nullable=False),
        sa.Column("bot_id", sa.BigInteger, nullable=False),
        sa.Column("file_id", sa.Text, nullable=False),
        sa.Column("file_unique_id", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created_at_s", sa.Float, nullable=False),
        sa.Column("garbage_since_s", sa.Float),
        sqlite_with_rowid=False,
    )
    op.create_index("documents_by_garbage_since_s", "documents", ["garbage_since_s", "created_at_s"])
    op.create_table(
        "extents",
        sa.Column("bucket", sa.Text, primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("document_id", sa.Text, sa.ForeignKey("documents.document_id"), nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("length", sa.BigInteger, nullable=False),
        sa.Column("block_sha256s", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["bucket", "key"], ["keys.bucket", "keys.key"]),
        sqlite_with_rowid=False,
    )
    op.create_index("extents_by_document_id", "extents", ["document_id"])
    _create_work_tables()


def _create_work_tables() -> None:
    """Copy jobs, writes to the origin, the counter."""
    op.create_table(
        "copy_jobs",
        sa.Column("job_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("bucket", sa.Text, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("not_before_s", sa.Float, nullable=False),
        sa.Column("anonymous_read", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("copy_jobs_by_key", "copy_jobs", ["bucket", "key"], unique=True)
    op.create_index("copy_jobs_by_time", "copy_jobs", ["state", "not_before_s", "job_id"])
    op.create_table(
        "origin_writes",
        sa.Column("write_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("bucket", sa.Text, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("began_at_s", sa.Float, nullable=False),
        sa.Column("overruled", sa.Boolean, nullable=False),
    )
    op.create_index("origin_writes_by_key", "origin_writes", ["bucket", "key"])
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(counters, [{"name": "numbers", "value": 0}])
