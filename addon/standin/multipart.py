"""multipart/form-data, streamed: files go to disk as they arrive, arguments stay in memory within their limit."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from addon.standin.arguments import parse_disposition
from addon.standin.content import HEAD_BYTES
from addon.standin.failures import BareError

ARGUMENT_BYTES_MAX = 1024 * 1024
FILES_MAX = 50
BOUNDARY_CHARACTERS_MAX = 70
HASH_PIECE_BYTES = 1024 * 1024


@dataclass(slots=True)
class ReceivedFile:
    """A file part on disk: `path` is a temporary file that belongs to the request until a document takes it over.

    `document_id` is that document then, for a second item of an album that names the same part.
    """

    name: str
    raw_file_name: bytes
    path: Path
    size: int = 0
    head: bytes = b""
    sha256: str = ""
    document_id: int | None = None

    def compute_sha256(self) -> None:
        """Read the file once and set `sha256`; for a thread where the file is large."""
        digest = hashlib.sha256()
        with self.path.open("rb", buffering=0) as file:
            while piece := file.read(HASH_PIECE_BYTES):
                digest.update(piece)
        self.sha256 = digest.hexdigest()


class MultipartReader:
    """Feed it the body with `write`, then call `finish`; `fields` and `files` hold what was found, in order.

    Raises BareError as the real server's parser refuses: 400 for a malformed body or a part without a name, 413 for more than
    1 MiB of arguments or more than 50 files (td: HttpReader.h).
    """

    def __init__(self, boundary: bytes, make_path: Callable[[], Path]) -> None:
        if not 0 < len(boundary) <= BOUNDARY_CHARACTERS_MAX:
            raise BareError(400)
        self.fields: list[tuple[str, str]] = []
        self.files: list[ReceivedFile] = []
        self._make_path = make_path
        self._argument_bytes = 0
        self._ended = False
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._disposition: bytes | None = None
        self._argument: bytearray | None = None
        self._argument_name = ""
        self._descriptor = -1
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def write(self, piece: bytes | bytearray) -> None:
        try:
            self._parser.write(piece)  # type: ignore[arg-type]  # a bytearray does as well; the parser only reads and slices
        except FormParserError:
            raise BareError(400) from None

    def finish(self) -> None:
        """Raises BareError 400 unless the closing boundary was seen."""
        if not self._ended:
            raise BareError(400)

    def close(self) -> None:
        """Give back what an abandoned body holds open; the files themselves stay."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _on_part_begin(self) -> None:
        self._disposition = None
        self._argument = None

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.strip().lower() == b"content-disposition" and self._disposition is None:
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        disposition = parse_disposition(self._disposition or b"")
        if disposition.file_name is None:
            self._argument, self._argument_name = bytearray(), disposition.name
            self._count_argument_bytes(len(disposition.name))
            return
        if len(self.files) >= FILES_MAX:
            raise BareError(413)
        path = self._make_path()
        self.files.append(ReceivedFile(disposition.name, disposition.file_name, path))
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._argument is not None:
            self._count_argument_bytes(end - start)
            self._argument += data[start:end]
            return
        file = self.files[-1]
        if len(file.head) < HEAD_BYTES:
            file.head += bytes(data[start : min(end, start + HEAD_BYTES - len(file.head))])
        view = memoryview(data)[start:end]
        while view:
            view = view[os.write(self._descriptor, view) :]
        file.size += end - start

    def _count_argument_bytes(self, count: int) -> None:
        self._argument_bytes += count
        if self._argument_bytes > ARGUMENT_BYTES_MAX:
            raise BareError(413)

    def _on_part_end(self) -> None:
        if self._argument is not None:
            self.fields.append((self._argument_name, self._argument.decode("utf-8", "surrogateescape")))
        self.close()

    def _on_end(self) -> None:
        self._ended = True
