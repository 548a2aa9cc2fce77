"""Documents, the blobs that hold their bytes, and the slots through which they are downloaded."""

import os
import secrets
from pathlib import Path

from addon.standin.content import Kind
from addon.standin.database import Database
from addon.standin.names import extension_of
from addon.standin.records import Document, Slot

# The folder names of the file host (td: files/FileType.cpp).
_FOLDERS: dict[Kind, str] = {
    "document": "documents",
    "animation": "animations",
    "video": "videos",
    "audio": "music",
    "voice": "voice",
    "sticker": "stickers",
}


class Files:
    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._incoming = folder / "incoming"
        self._blobs = folder / "blobs"
        self._local = folder / "local"
        for path in (self._incoming, self._blobs, self._local):
            path.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def _sweep(self) -> None:
        """Remove what an ended process left: half-received uploads, and blobs whose transaction was never committed."""
        for path in self._incoming.iterdir():
            path.unlink()
        known = {row["blob"] for row in self._database.rows("SELECT blob FROM documents")}
        for path in self._blobs.iterdir():
            if path.name not in known:
                path.unlink()

    def incoming_path(self) -> Path:
        """A new path for a file that is being received; it lies on the file system of the blobs, so keeping it is a rename."""
        return self._incoming / secrets.token_hex(8)

    def blob_path(self, document: Document) -> Path:
        return self._blobs / document.blob

    def add(
        self,
        source: Path,
        *,
        size: int,
        sha256: str,
        kind: Kind,
        file_name: str,
        mime_type: str,
        thumbnail: bool,
        dedupe: bool,
    ) -> Document:
        """Make a document of the received file `source`, which is moved away.

        With `dedupe` a document of the same bytes shares its blob and its file_unique_id with the first of them.
        """
        twin = None
        if dedupe:
            twin = self._database.row(
                "SELECT unique_of, blob FROM documents WHERE sha256 = ? AND size = ? AND dead = 0 ORDER BY id LIMIT 1",
                sha256,
                size,
            )
        if twin is None:
            blob = secrets.token_hex(12)
            os.replace(source, self._blobs / blob)
        else:
            blob = twin["blob"]
            source.unlink()
        number = self._database.change(
            "INSERT INTO documents (unique_of, blob, size, sha256, kind, file_name, mime_type, thumbnail)"
            " VALUES (0, ?, ?, ?, ?, ?, ?, ?)",
            blob,
            size,
            sha256,
            kind,
            file_name,
            mime_type,
            thumbnail,
        )
        unique_of = number if twin is None else twin["unique_of"]
        self._database.change("UPDATE documents SET unique_of = ? WHERE id = ?", unique_of, number)
        return self.document(number)

    def document(self, document_id: int) -> Document:
        """Raises LookupError for a number that no document has."""
        row = self._database.row("SELECT * FROM documents WHERE id = ?", document_id)
        if row is None:
            raise LookupError(f"no document {document_id}")
        return Document.from_row(row)

    def kill_document(self, document_id: int) -> None:
        self._database.change("UPDATE documents SET dead = 1 WHERE id = ?", document_id)

    def kill_file_id(self, nonce: bytes) -> None:
        self._database.change("INSERT OR IGNORE INTO dead_file_ids VALUES (?)", nonce)

    def is_file_id_dead(self, nonce: bytes) -> bool:
        return self._database.row("SELECT 1 FROM dead_file_ids WHERE nonce = ?", nonce) is not None

    def open_slot(self, bot_id: int, document: Document, now: float, lifetime_s: float) -> Slot:
        """The document's slot, its time begun anew; another number once the old one has expired."""
        row = self._database.row(
            "SELECT * FROM slots WHERE bot_id = ? AND document_id = ? AND expired = 0 AND made_at > ? ORDER BY number DESC LIMIT 1",
            bot_id,
            document.id,
            now - lifetime_s,
        )
        if row is not None:
            self._database.change(
                "UPDATE slots SET made_at = ? WHERE bot_id = ? AND number = ?", now, bot_id, row["number"]
            )
            return Slot(bot_id, row["number"], document.id, row["path"], now)
        number = self._database.count_up(f"slots:{bot_id}", 0)
        extension = extension_of(document.file_name)
        path = f"{_FOLDERS[document.kind]}/file_{number}" + (f".{extension}" if extension.isalnum() else "")
        self._database.change("INSERT INTO slots VALUES (?, ?, ?, ?, ?, 0)", bot_id, number, document.id, path, now)
        return Slot(bot_id, number, document.id, path, now)

    def slot_at(self, bot_id: int, path: str, now: float, lifetime_s: float) -> Slot | None:
        """The slot that the bot owns under exactly this path: nothing is looked up on disk by a path from outside."""
        row = self._database.row(
            "SELECT * FROM slots WHERE bot_id = ? AND path = ? AND expired = 0 AND made_at > ?",
            bot_id,
            path,
            now - lifetime_s,
        )
        return None if row is None else Slot(bot_id, row["number"], row["document_id"], row["path"], row["made_at"])

    def expire_slots(self) -> None:
        self._database.change("UPDATE slots SET expired = 1")

    def local_path(self, slot: Slot) -> Path:
        """A readable file with the document's bytes for `--local` mode: a hard link, named as the file host would."""
        path = self._local / str(slot.bot_id) / slot.path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(self.blob_path(self.document(slot.document_id)), path)
        return path.absolute()

    def clear(self) -> None:
        """Remove every blob; the rows are the database's affair."""
        for path in self._blobs.iterdir():
            path.unlink()
        for path in sorted(self._local.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
