"""The form of a browser upload (multipart/form-data), taken apart while it arrives. Pure: fed bytes, gives bytes of the file.

Rules: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html (what stands before the file is 20 KB at most, names have
any case, the file is the last field and what follows it is ignored) and RFC 7578.

Feed it with `feed`; once `file_name` is not None the fields are complete, and what `feed` gives is the file's content, which is
nobody's before the fields were verified. `finish` tells whether the form ended where it should.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from addon.s3.errors import S3Error

BYTES_BEFORE_FILE_MAX = 20 * 1024
BYTES_AFTER_FILE_MAX = 64 * 1024
FIELDS_MAX = 100
BOUNDARY_CHARS_MAX = 70

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
# A header's parameter: its value quoted, where only a quote is escaped (old browsers sent paths with plain backslashes), or bare.
_PARAMETER = re.compile(r';[ \t]*([!#$&+\-^_`|~0-9A-Za-z*.]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\"|\\)*)"|([^";]*))')
_REPEATABLE_PREFIX = "x-ignore-"


def boundary_of(content_type: str) -> bytes:
    """The boundary that a form's Content-Type names. Raises PreconditionFailed, as S3 does, for what is not multipart/form-data."""
    media_type, semicolon, rest = content_type.partition(";")
    if media_type.strip(" \t").lower() != "multipart/form-data":
        raise S3Error(
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold",
            details={"Condition": "Bucket POST must be of the enclosure-type multipart/form-data"},
        )
    boundary = _parameters(semicolon + rest).get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise malformed()
    return boundary.encode("ascii")


def malformed() -> S3Error:
    """The refusal of a body that is no form."""
    return S3Error("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")


def wrong_number_of_files() -> S3Error:
    """The refusal of a form with no file or more than one."""
    return S3Error(
        "IncorrectNumberOfFilesInPostRequest",
        "POST requires exactly one file upload per request.",
        details={"ArgumentName": "file"},
    )


class PostFormReader:
    """Reads one form. `fields` holds what stood before the file, by name in lower case, as UTF-8 text."""

    def __init__(self, boundary: bytes) -> None:
        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        """The name that the client gives the file, as it was sent (empty where it gave none); None while no file has begun."""
        self.file_ended = False
        self._names = 0
        self._before, self._after = 0, 0
        self._form_ended = False
        self._header_name, self._header_value = bytearray(), bytearray()
        self._disposition: bytes | None = None
        self._name: str | None = None
        self._value = bytearray()
        self._pieces: list[bytes] = []
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

    def feed(self, received: bytes) -> list[bytes]:
        """Take the next bytes of the body; returns the next bytes of the file.

        Raises MalformedPOSTRequest, MaxPostPreDataLengthExceededError, InvalidArgument (a field that stands twice, or is not
        UTF-8) and IncorrectNumberOfFilesInPostRequest.
        """
        if self.file_name is None:
            # Only as far as the limit at first: the file has begun by then, or it never will.
            allowed = BYTES_BEFORE_FILE_MAX - self._before
            head, received = received[:allowed], received[allowed:]
            self._before += len(head)
            self._parse(head)
            if self.file_name is None and self._before >= BYTES_BEFORE_FILE_MAX:
                raise S3Error(
                    "MaxPostPreDataLengthExceededError",
                    "Your POST request fields preceding the upload file were too large.",
                )
        elif self.file_ended:
            self._after += len(received)
            if self._after > BYTES_AFTER_FILE_MAX:
                raise malformed()
        self._parse(received)
        pieces, self._pieces = self._pieces, []
        return pieces

    def finish(self) -> None:
        """The body has ended. Raises MalformedPOSTRequest where the form has not, and where there was no file."""
        if not self._form_ended:
            raise malformed()
        if self.file_name is None:
            raise wrong_number_of_files()

    def _parse(self, data: bytes) -> None:
        if not data:
            return
        try:
            self._parser.write(data)
        except FormParserError:
            raise malformed() from None

    def _on_part_begin(self) -> None:
        self._disposition = None

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            if self._disposition is not None:
                raise malformed()
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        kind, semicolon, rest = _text(self._disposition or b"").partition(";")
        parameters = _parameters(semicolon + rest)
        if kind.strip(" \t").lower() != "form-data" or "name" not in parameters:
            raise malformed()
        name = parameters["name"].lower()
        if name == "file":
            if self.file_name is not None:
                raise wrong_number_of_files()
            self.file_name = parameters.get("filename", "")
        elif self.file_name is None:
            self._names += 1
            if self._names > FIELDS_MAX:
                raise S3Error(
                    "MaxPostPreDataLengthExceededError", f"Your POST request has more than {FIELDS_MAX} fields."
                )
        self._name = name

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == "file":
            self._pieces.append(bytes(data[start:end]))
        elif self.file_name is None:
            self._value += data[start:end]

    def _on_part_end(self) -> None:
        name, self._name = self._name, None
        if name is None:
            raise malformed()
        if name == "file":
            self.file_ended = True
        elif self.file_name is None:
            value = _text(bytes(self._value))
            self._value.clear()
            if name in self.fields and not name.startswith(_REPEATABLE_PREFIX):
                raise S3Error("InvalidArgument", "A field was given more than once.", details={"ArgumentName": name})
            self.fields[name] = value

    def _on_end(self) -> None:
        self._form_ended = True


def _text(value: bytes) -> str:
    """Forms are UTF-8 (…/RESTObjectPOST.html); in another encoding a key or a condition could be read in two ways."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise S3Error("InvalidArgument", "The form is not encoded in UTF-8.") from None


def _parameters(text: str) -> Mapping[str, str]:
    """The parameters `;name=value…` of a header. Raises MalformedPOSTRequest for anything else and for one that stands twice."""
    found: dict[str, str] = {}
    position = 0
    text = text.rstrip(" \t;")
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None or match[1].lower() in found:
            raise malformed()
        quoted = match[2]
        found[match[1].lower()] = quoted.replace('\\"', '"') if quoted is not None else match[3].strip(" \t")
        position = match.end()
        while position < len(text) and text[position] in " \t":
            position += 1
    return found
