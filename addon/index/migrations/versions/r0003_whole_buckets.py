"""What the migration of whole buckets remembers: sweeps, verifications, retired origins, running proxies."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """What has moved was never verified, and was last known to equal the origin's object when nobody knows."""
    op.add_column("keys", sa.Column("checked_at_s", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("keys", sa.Column("verified_at_s", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("copy_jobs", sa.Column("rank", sa.Integer, nullable=False, server_default="0"))
    op.add_column("copy_jobs", sa.Column("size", sa.BigInteger, nullable=False, server_default="0"))
    op.drop_index("copy_jobs_by_time", "copy_jobs")
    op.create_index("copy_jobs_by_time", "copy_jobs", ["state", "rank", "not_before_s", "job_id"])
    op.create_table(
        "bucket_facts",
        sa.Column("bucket", sa.Text, primary_key=True),
        sa.Column("retired_at_s", sa.Float),
        sa.Column("sweep_began_at_s", sa.Float),
        sa.Column("sweep_ended_at_s", sa.Float),
        sa.Column("sweep_after", sa.LargeBinary, nullable=False),
        sa.Column("listed_objects", sa.BigInteger, nullable=False),
        sa.Column("listed_bytes", sa.BigInteger, nullable=False),
        sa.Column("verified_at_s", sa.Float),
        sa.Column("verified_deep", sa.Boolean, nullable=False),
        sa.Column("compared_objects", sa.BigInteger, nullable=False),
        sa.Column("differed_objects", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "proxies",
        sa.Column("proxy_id", sa.Text, primary_key=True),
        sa.Column("seen_at_s", sa.Float, nullable=False),
    )
