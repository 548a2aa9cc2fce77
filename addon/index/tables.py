"""The tables, as the code sees them. `migrations/` builds them; a test compares the two.

Decisions:

- A key is stored as its UTF-8 bytes. Bytes sort in the order that S3 lists keys in, on every database and without a collation;
  and a key may hold U+0000, which PostgreSQL's text does not take.
- An object and a tombstone are two kinds of row in one table, so that a key cannot be both.
- Headers, checksums and tags are JSON: they are only ever read and written whole. Extents are rows: what a document still holds is
  asked when it is to be cleared away or packed anew.
- `documents.garbage_since_s` is null while an extent, of an object or of a part, refers to the document. It is kept up by the
  transactions that add and remove extents, so that garbage is found without looking at every document.
- `keys_by_kind` leads past tombstones when objects are listed, and past objects when tombstones are looked for, however many
  there are of the other kind.
- An upload that was completed keeps its row, without parts, until it expires: the same completion is answered alike when it comes
  again.
- `documents.dead_bytes` counts what extents covered once and none covers any more. Padding and what a pack says of itself are not
  among it, so it tells whether there is something to erase in a document that is still in use.
- `erasures` is the fence of erasing: a document that stands there is never taken into use again, also some days after it is gone.
- Copies that somebody waits for are leased before those of a sweep (`rank`), of which there may be a million.
- What an object of these rows *is* stands in Telegram too, so that a lost index can be made again. `untold_keys` has the keys whose
  present state no document in Telegram tells yet; triggers on `keys` and `extents` fill it, so that no way of writing forgets it.
- Telegram's limits hold for all processes on this index together, so what they send and the pauses that it asks for are rows here.
- One counter numbers generations, jobs and writes: numbers are never used again, also after the rows are gone.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    literal_column,
)

metadata = MetaData()

KIND_OBJECT = "object"
KIND_TOMBSTONE = "tombstone"
UPLOAD_OPEN = "open"
UPLOAD_COMPLETED = "completed"

keys = Table(
    "keys",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    # When it was last modified, or deleted: whole UNIX seconds.
    Column("modified_at_s", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("etag", Text, nullable=False),
    Column("provenance", Text, nullable=False),
    Column("anonymous_read", Boolean, nullable=False),
    Column("headers", Text, nullable=False),
    Column("checksums", Text, nullable=False),
    Column("tags", Text, nullable=False, server_default="{}"),
    # Of an object that was uploaded in parts; 0 for any other.
    Column("parts_count", Integer, nullable=False, server_default="0"),
    # Of a copy: when the origin was last known to hold the same, and when the two were last compared; 0 for never.
    Column("checked_at_s", BigInteger, nullable=False, server_default="0"),
    Column("verified_at_s", BigInteger, nullable=False, server_default="0"),
    Index("keys_by_kind", "bucket", "kind", "key"),
    sqlite_with_rowid=False,
)

documents = Table(
    "documents",
    metadata,
    Column("document_id", Text, primary_key=True),
    Column("chat_id", BigInteger, nullable=False),
    Column("message_id", BigInteger, nullable=False),
    Column("bot_id", BigInteger, nullable=False),
    Column("file_id", Text, nullable=False),
    Column("file_unique_id", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created_at_s", Float, nullable=False),
    Column("garbage_since_s", Float),
    # Under which key it is sealed, in segments of how many bytes before sealing; empty and 0 where it lies there as it is.
    Column("key_id", Text, nullable=False, server_default=""),
    Column("segment_bytes", Integer, nullable=False, server_default="0"),
    # It also tells the states of keys, which have to be told anew before it may go.
    Column("tells_states", Boolean, nullable=False, server_default="0"),
    # It was sent without any object's bytes, and is kept for what it tells: see `store/retelling.py`.
    Column("only_tells", Boolean, nullable=False, server_default="0"),
    # Of objects and parts that are gone, while others in it are not.
    Column("dead_bytes", BigInteger, nullable=False, server_default="0"),
    Index("documents_by_garbage_since_s", "garbage_since_s", "created_at_s"),
    Index("documents_by_dead_bytes", "dead_bytes"),
    sqlite_with_rowid=False,
)
# It waits on the local disk. A literal, not a parameter: else a database does not see that the index below fits.
IS_SPOOLED = documents.c.file_id == literal_column("''")
Index(
    "documents_spooled",
    documents.c.created_at_s,
    documents.c.document_id,
    sqlite_where=IS_SPOOLED,
    postgresql_where=IS_SPOOLED,
)

extents = Table(
    "extents",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("document_id", Text, ForeignKey("documents.document_id"), nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("block_sha256s", LargeBinary, nullable=False),
    ForeignKeyConstraint(["bucket", "key"], ["keys.bucket", "keys.key"]),
    Index("extents_by_document_id", "document_id"),
    sqlite_with_rowid=False,
)

object_parts = Table(
    "object_parts",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("checksums", Text, nullable=False),
    ForeignKeyConstraint(["bucket", "key"], ["keys.bucket", "keys.key"]),
    sqlite_with_rowid=False,
)

uploads = Table(
    "uploads",
    metadata,
    Column("upload_id", Text, primary_key=True),
    Column("bucket", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    # Since when it is in this state, that is, when it was begun or completed: whole UNIX seconds.
    Column("state_since_s", BigInteger, nullable=False),
    Column("anonymous_read", Boolean, nullable=False),
    Column("headers", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("checksum_algorithm", Text, nullable=False),
    Column("checksum_type", Text, nullable=False),
    # What it became: empty while it is open.
    Column("etag", Text, nullable=False),
    Column("checksums", Text, nullable=False),
    Column("request_sha256", Text, nullable=False),
    Index("uploads_by_key", "state", "bucket", "key", "upload_id"),
    Index("uploads_by_time", "state", "state_since_s"),
    sqlite_with_rowid=False,
)

parts = Table(
    "parts",
    metadata,
    Column("upload_id", Text, ForeignKey("uploads.upload_id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("md5_hex", Text, nullable=False),
    Column("checksums", Text, nullable=False),
    Column("modified_at_s", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

part_extents = Table(
    "part_extents",
    metadata,
    Column("upload_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("document_id", Text, ForeignKey("documents.document_id"), nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("block_sha256s", LargeBinary, nullable=False),
    ForeignKeyConstraint(["upload_id", "number"], ["parts.upload_id", "parts.number"]),
    Index("part_extents_by_document_id", "document_id"),
    sqlite_with_rowid=False,
)

copy_jobs = Table(
    "copy_jobs",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("bucket", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    # Before this time the job is not leased: its pause while it waits, the end of its lease while it runs.
    Column("not_before_s", Float, nullable=False),
    Column("anonymous_read", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    # 0 where somebody read the key, 1 where a sweep listed it: those come later.
    Column("rank", Integer, nullable=False, server_default="0"),
    # In bytes, as the origin listed it; 0 where nobody knows.
    Column("size", BigInteger, nullable=False, server_default="0"),
    Index("copy_jobs_by_key", "bucket", "key", unique=True),
    Index("copy_jobs_by_time", "state", "rank", "not_before_s", "job_id"),
)

origin_writes = Table(
    "origin_writes",
    metadata,
    Column("write_id", BigInteger, primary_key=True, autoincrement=False),
    Column("bucket", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("began_at_s", Float, nullable=False),
    # A later write decided the key, so this one's end no longer does. It still keeps copies from committing.
    Column("overruled", Boolean, nullable=False),
    Index("origin_writes_by_key", "bucket", "key"),
)

bucket_facts = Table(
    "bucket_facts",
    metadata,
    Column("bucket", Text, primary_key=True),
    # Null while its origin is asked.
    Column("retired_at_s", Float),
    # The last walk through the origin's whole listing, how far it got, and what it has listed so far.
    Column("sweep_began_at_s", Float),
    Column("sweep_ended_at_s", Float),
    Column("sweep_after", LargeBinary, nullable=False),
    Column("listed_objects", BigInteger, nullable=False),
    Column("listed_bytes", BigInteger, nullable=False),
    # The last comparison of the whole bucket.
    Column("verified_at_s", Float),
    Column("verified_deep", Boolean, nullable=False),
    Column("compared_objects", BigInteger, nullable=False),
    Column("differed_objects", BigInteger, nullable=False),
)

proxies = Table(
    "proxies",
    metadata,
    Column("proxy_id", Text, primary_key=True),
    Column("seen_at_s", Float, nullable=False),
)

document_copies = Table(
    "document_copies",
    metadata,
    # The same bytes in another chat.
    Column("document_id", Text, ForeignKey("documents.document_id", ondelete="CASCADE"), primary_key=True),
    Column("chat_id", BigInteger, primary_key=True, autoincrement=False),
    Column("message_id", BigInteger, nullable=False),
    Column("bot_id", BigInteger, nullable=False),
    Column("file_id", Text, nullable=False),
    sqlite_with_rowid=False,
)

document_file_ids = Table(
    "document_file_ids",
    metadata,
    # By what other bots read the same file, besides the one that is named with the document.
    Column("document_id", Text, ForeignKey("documents.document_id", ondelete="CASCADE"), primary_key=True),
    Column("bot_id", BigInteger, primary_key=True, autoincrement=False),
    Column("file_id", Text, nullable=False),
    sqlite_with_rowid=False,
)

erasures = Table(
    "erasures",
    metadata,
    Column("document_id", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    # Until when whoever began it has it to himself, or it rests after a failure for the reason named.
    Column("leased_until_s", Float, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    # Null until nothing of the document is left.
    Column("ended_at_s", Float),
    Index("erasures_by_end", "ended_at_s"),
    sqlite_with_rowid=False,
)

untold_keys = Table(
    "untold_keys",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    # Of the state that is to be told; where the key is gone: of what it was last.
    Column("generation", BigInteger, nullable=False),
    # A random number, another one with each change: also where the generation stays, what was told meanwhile is out of date.
    Column("change", BigInteger, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)

packs_under_way = Table(
    "packs_under_way",
    metadata,
    # Packs that were numbered and of which not every object is committed or given up.
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("process_id", Text, nullable=False),
    Column("began_at_s", Float, nullable=False),
)

telegram_sends = Table(
    "telegram_sends",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("process_id", Text, nullable=False),
    Column("bot_id", BigInteger, nullable=False),
    Column("chat_id", BigInteger, nullable=False),
    # 0 for a message without an upload.
    Column("upload_bytes", BigInteger, nullable=False),
    Column("began_at_s", Float, nullable=False),
    # Null while it is under way, or for ever where its process died.
    Column("ended_at_s", Float),
    Index("telegram_sends_by_pair", "bot_id", "chat_id", "began_at_s"),
)

telegram_pairs = Table(
    "telegram_pairs",
    metadata,
    # What is known of a bot in a chat (chat_id 0: of the bot in all of them).
    Column("bot_id", BigInteger, primary_key=True, autoincrement=False),
    Column("chat_id", BigInteger, primary_key=True, autoincrement=False),
    # The end of the pause that a 429 asked for; when the last 429 came, and the messages a minute that were learnt from it.
    Column("paused_until_s", Float, nullable=False, server_default="0"),
    Column("limited_at_s", Float, nullable=False, server_default="0"),
    Column("learnt_per_min", Float),
    # Since when it is set aside, until when at least, and why.
    Column("aside_since_s", Float),
    Column("aside_until_s", Float, nullable=False, server_default="0"),
    Column("reason", Text, nullable=False, server_default=""),
    sqlite_with_rowid=False,
)

telegram_chats = Table(
    "telegram_chats",
    metadata,
    # Groups that became supergroups.
    Column("chat_id", BigInteger, primary_key=True, autoincrement=False),
    Column("moved_to", BigInteger, nullable=False),
)

telegram_processes = Table(
    "telegram_processes",
    metadata,
    Column("process_id", Text, primary_key=True),
    Column("seen_at_s", Float, nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("snapshot_id", Text, primary_key=True),
    Column("began_at_s", Float, nullable=False),
    # Null while it is being sent.
    Column("taken_at_s", Float),
    Column("objects", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    # Its messages, as JSON: the root document last.
    Column("messages", Text, nullable=False),
    sqlite_with_rowid=False,
)

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

COUNTER_NAME = "numbers"
