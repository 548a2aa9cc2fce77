"""What is kept of a snapshot: read back as it was written, with the second copies of its documents."""

from __future__ import annotations

from addon.store.records import Document, DocumentCopy
from addon.store.snapshot_format import Snapshot, SnapshotPart, read_snapshot, snapshot_text


def test_second_copies_are_kept_and_belong_to_what_a_snapshot_has_in_telegram() -> None:
    copies = (DocumentCopy(-200, 7, 1, "file-of-copy"),)
    part = Document("part", -100, 5, 1, "file", "unique", 10, copies=copies)
    root = Document("root", -100, 6, 1, "file-of-root", "unique", 10)
    snapshot = Snapshot("s", 1.0, 2.0, 3, 4, parts=[SnapshotPart(part, 10, "00")], root=root, roots={-100: 6, -200: 9})
    again = read_snapshot("s", 1.0, 2.0, 3, 4, snapshot_text(snapshot))
    assert again == snapshot
    assert again.parts[0].document.copies == copies
    places = [(document.document_id, document.chat_id, document.message_id) for document in again.documents]
    assert sorted(places) == [("part", -200, 7), ("part", -100, 5), ("root", -200, 9), ("root", -100, 6)]
