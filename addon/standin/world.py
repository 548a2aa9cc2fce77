"""A world: chats, messages and files in one folder. The server has two, as Telegram has its test servers."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from addon.standin.chats import Chats, ChatSpec
from addon.standin.database import Database
from addon.standin.files import Files
from addon.standin.identifiers import FileReference, make_file_id, make_unique_id, message_nonce, read_file_id
from addon.standin.messages import Messages
from addon.standin.records import Document, Message


class World:
    """Everything in it is on disk before a call is answered, so that it survives the end of the process."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.database = Database(folder / "world.db")
        # The seed decides the secret once; a world keeps its own, or its file_ids would die with a restart.
        secret = self.database.setting("secret", hashlib.sha256(f"stand-in {seed}".encode()).hexdigest())
        self._secret = bytes.fromhex(secret)
        self.chats = Chats(self.database)
        self.messages = Messages(self.database)
        self.files = Files(self.database, folder)

    def close(self) -> None:
        self.database.close()

    @property
    def clock_offset_s(self) -> float:
        """How far the clock was advanced through the control port; kept, or time would go backwards with a restart."""
        return float(self.database.setting("clock_offset_s", "0"))

    @clock_offset_s.setter
    def clock_offset_s(self, value: float) -> None:
        self.database.set_setting("clock_offset_s", repr(value))

    def populate(self, chats: Iterable[ChatSpec], now: float) -> None:
        with self.database.transaction():
            for spec in chats:
                self.chats.create(spec, int(now))

    def reset(self) -> None:
        """Forget all chats, messages and files. The clock stays where it is."""
        self.database.clear()
        self.files.clear()

    def file_id(self, bot_id: int, message: Message, document: Document) -> str:
        """The file_id under which `bot_id` sees the message's document."""
        nonce = message_nonce(self._secret, bot_id, message.owner_id, message.chat_id, message.id, message.edits)
        return self.make_file_id(FileReference(bot_id, document.id, nonce, document.kind))

    def make_file_id(self, reference: FileReference) -> str:
        return make_file_id(self._secret, reference)

    def read_file_id(self, text: str) -> FileReference | None:
        """What the file_id says, None for one that is well-formed but not from here. Raises NotAFileId for garbage."""
        return read_file_id(self._secret, text)

    def refreshed(self, reference: FileReference) -> FileReference:
        """Another reference to the same document for the same bot."""
        nonce = message_nonce(self._secret, int.from_bytes(reference.nonce, "big"))
        return FileReference(reference.bot_id, reference.document_id, nonce, reference.type)

    def unique_id(self, document: Document, variant: bytes = b"") -> str:
        return make_unique_id(self._secret, document.unique_of, variant)
