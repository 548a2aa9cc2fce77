"""From the file that a call brings or names to a document."""

import hashlib
from dataclasses import dataclass

from addon.standin.call import Call
from addon.standin.content import Kind, detect, has_thumbnail
from addon.standin.failures import fail
from addon.standin.identifiers import NotAFileId
from addon.standin.multipart import ReceivedFile
from addon.standin.names import clean_file_name, mime_type_of
from addon.standin.records import Document

_TYPE_NAMES = {"animation": "Animation", "video": "Video", "audio": "Audio", "voice": "VoiceNote", "sticker": "Sticker"}


@dataclass(frozen=True, slots=True)
class Source:
    """Where the bytes come from: a file of this request, or a document that Telegram has already."""

    file: ReceivedFile | None
    document: Document | None


def choose_source(call: Call, text: str, default_part: str, missing: str) -> Source:
    """Read `attach://NAME`, a file_id, or the file part `default_part` when `text` is empty.

    Raises ApiError 400: `missing` when there is nothing, Telegram's texts for an empty file and for file_ids that are no good.
    """
    if text.startswith(("http://", "https://")):
        raise fail(400, "failed to get HTTP URL content")
    if text and not text.startswith("attach://"):
        return Source(None, _document_of_file_id(call, text))
    file = call.received.file(text.removeprefix("attach://") if text else default_part)
    if file is None:
        raise fail(400, missing)
    if file.size == 0:
        raise fail(400, "file must be non-empty")
    return Source(file, None)


def _document_of_file_id(call: Call, text: str) -> Document:
    try:
        reference = call.world.read_file_id(text)
    except NotAFileId:
        raise fail(400, "wrong remote file identifier specified: can't unserialize it. Wrong last symbol") from None
    wrong = fail(400, "wrong file identifier/HTTP URL specified")
    if reference is None or reference.bot_id != call.bot.id or call.world.files.is_file_id_dead(reference.nonce):
        raise wrong
    if reference.type != "document":
        raise fail(400, f"can't use file of type {_TYPE_NAMES.get(reference.type, 'Thumbnail')} as Document")
    try:
        document = call.world.files.document(reference.document_id)
    except LookupError:
        raise wrong from None
    if document.dead:
        raise wrong
    return document


def keep(call: Call, source: Source, *, detection: bool) -> Document:
    """The document to put into a message; a received file becomes one here, and its bytes move to where they stay."""
    if source.document is not None:
        return source.document
    file = source.file
    if file is None:
        raise ValueError("a source is a file or a document")
    if file.document_id is not None:
        return call.world.files.document(file.document_id)
    file_name = clean_file_name(file.raw_file_name)
    kind = detect(file.head, file_name, detection=detection)
    replaced = kind == "animation"
    if call.forced_type is not None:
        kind, replaced = call.forced_type.kind, call.forced_type.replace_bytes
    if kind == "animation":
        file_name = f"{file_name}.mp4"
    if replaced:
        _transcode(file)
    document = call.world.files.add(
        file.path,
        size=file.size,
        sha256=file.sha256,
        kind=kind,
        file_name=file_name,
        mime_type=_mime_type(kind, file_name),
        thumbnail=call.switches.thumbnails and has_thumbnail(file.head),
        dedupe=call.switches.dedupe,
    )
    file.document_id = document.id
    return document


def _mime_type(kind: Kind, file_name: str) -> str:
    if kind in ("animation", "video"):
        return "video/mp4"
    return mime_type_of(file_name)


def _transcode(file: ReceivedFile) -> None:
    """What becomes of a GIF: another file altogether, so that whoever relies on its bytes finds out."""
    data = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes.fromhex(file.sha256) * 4
    file.path.write_bytes(data)
    file.size, file.sha256 = len(data), hashlib.sha256(data).hexdigest()
