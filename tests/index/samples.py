"""Documents and objects to put into an index."""

from __future__ import annotations

from addon.store.records import Document, Extent, NewObject, Provenance

BUCKET = "images"


def document(name: str, *, size: int = 1000) -> Document:
    """A document whose id is `name`."""
    number = int.from_bytes(name.encode()[:6], "big")
    return Document(
        document_id=name,
        chat_id=-1001234567890,
        message_id=number,
        bot_id=123456,
        file_id=f"file-{name}",
        file_unique_id=f"unique-{name}",
        size=size,
    )


def new_object(
    key: str,
    *names: str,
    bucket: str = BUCKET,
    etag: str = "0cc175b9c0f1b6a831c399e269772661",
    provenance: Provenance = Provenance.WRITTEN_HERE,
    anonymous_read: bool = False,
) -> NewObject:
    """An object with one extent of ten bytes in each of the named documents, in this order."""
    return NewObject(
        bucket=bucket,
        key=key,
        size=10 * len(names),
        etag=etag,
        last_modified_s=1_700_000_000,
        provenance=provenance,
        anonymous_read=anonymous_read,
        headers={"content-type": "image/jpeg", "x-amz-meta-b": "2", "x-amz-meta-a": "1"},
        checksums={"crc32": "6Le+Qw==", "type": "FULL_OBJECT"},
        extents=[Extent(document(name), 5, 10, name.encode().ljust(32, b".")) for name in names],
    )


def new_copy(key: str, *names: str, etag: str = "copied", anonymous_read: bool = False) -> NewObject:
    """The same, as a copy from the origin."""
    return new_object(key, *names, etag=etag, provenance=Provenance.COPIED_FROM_ORIGIN, anonymous_read=anonymous_read)
