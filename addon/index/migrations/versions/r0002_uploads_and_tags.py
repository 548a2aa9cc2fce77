"""Multipart uploads, the parts of objects, tags; what objects and tombstones are listed by."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """What is there stays as it is: without tags, and not made of parts."""
    op.add_column("keys", sa.Column("tags", sa.Text, nullable=False, server_default="{}"))
    op.add_column("keys", sa.Column("parts_count", sa.Integer, nullable=False, server_default="0"))
    op.create_index("keys_by_kind", "keys", ["bucket", "kind", "key"])
    op.create_table(
        "object_parts",
        sa.Column("bucket", sa.Text, primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("checksums", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["bucket", "key"], ["keys.bucket", "keys.key"]),
        sqlite_with_rowid=False,
    )
    _create_upload_tables()


def _create_upload_tables() -> None:
    """Uploads, parts, part_extents."""
    op.create_table(
        "uploads",
        sa.Column("upload_id", sa.Text, primary_key=True),
        sa.Column("bucket", sa.Text, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("state_since_s", sa.BigInteger, nullable=False),
        sa.Column("anonymous_read", sa.Boolean, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("checksum_algorithm", sa.Text, nullable=False),
        sa.Column("checksum_type", sa.Text, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("checksums", sa.Text, nullable=False),
        sa.Column("request_sha256", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("uploads_by_key", "uploads", ["state", "bucket", "key", "upload_id"])
    op.create_index("uploads_by_time", "uploads", ["state", "state_since_s"])
    op.create_table(
        "parts",
        sa.Column("upload_id", sa.Text, sa.ForeignKey("uploads.upload_id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("md5_hex", sa.Text, nullable=False),
        sa.Column("checksums", sa.Text, nullable=False),
        sa.Column("modified_at_s", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "part_extents",
        sa.Column("upload_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("document_id", sa.Text, sa.ForeignKey("documents.document_id"), nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("length", sa.BigInteger, nullable=False),
        sa.Column("block_sha256s", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["upload_id", "number"], ["parts.upload_id", "parts.number"]),
        sqlite_with_rowid=False,
    )
    op.create_index("part_extents_by_document_id", "part_extents", ["document_id"])
