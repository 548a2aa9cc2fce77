"""AES-256-GCM on documents and captions, by keys that are derived from a master key. Pure: bytes in, bytes out.

`docs/encryption.md` tells the format byte by byte, and why it is safe. In short: each sealing of a document draws a salt, the
document's own key is derived from the master key, the document's id and that salt (HKDF-SHA256, RFC 5869), and each segment is
encrypted by itself with its number as the nonce and the document's header as additional data. So no nonce is ever used twice under
one key, also where different bytes are sent under one id; and a segment that was changed, moved, taken from another document or
another length of this one is refused. No byte of a segment leaves before its tag was verified.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from addon.store.ports import KeyMissing
from addon.store.seal_format import KEY_ID_BYTES, SALT_BYTES, TAG_BYTES, Header, Seal

MASTER_KEY_BYTES = 32
NONCE_BYTES = 12
# What the derived keys are for: HKDF's `info`, so that none is ever used for something else.
KEY_ID_USE = b"tgstore 1 key id"
DOCUMENT_USE = b"tgstore 1 document"
CAPTION_USE = b"tgstore 1 caption"


class WrongSeal(Exception):
    """The bytes are not those that were sealed: damaged, cut off, moved, or somebody else's."""


def new_master_key() -> bytes:
    """A random one."""
    return secrets.token_bytes(MASTER_KEY_BYTES)


def key_id_of(master_key: bytes) -> str:
    """What a master key is called: 16 lower-case hex digits that tell nothing of it."""
    return _derived(master_key, b"", KEY_ID_USE, KEY_ID_BYTES).hex()


class SealedDocument:
    """Seals and opens the segments of one document."""

    def __init__(self, master_key: bytes, header: Header) -> None:
        self.header = header
        self.header_bytes = header.to_bytes()
        info = DOCUMENT_USE + header.seal.salt
        self._aes = AESGCM(_derived(master_key, header.document_id.encode(), info, MASTER_KEY_BYTES))

    def seal(self, number: int, content: bytes | memoryview) -> bytes:
        """A segment with its tag."""
        return self._aes.encrypt(_nonce(number), content, self.header_bytes)

    def open(self, number: int, sealed: bytes | memoryview) -> bytes:
        """Its content. Raises `WrongSeal`."""
        try:
            return self._aes.decrypt(_nonce(number), sealed, self.header_bytes)
        except InvalidTag:
            raise WrongSeal(f"segment {number} of document {self.header.document_id} is not what was sealed") from None

    def sealed(self, content: bytes) -> bytes:
        """The whole document. Raises ValueError where the content has another length than was said."""
        if len(content) != self.header.content_bytes:
            raise ValueError(f"{len(content)} bytes are there to seal, not {self.header.content_bytes}")
        step, view = self.header.segment_bytes, memoryview(content)
        pieces = (
            self.seal(number, view[number * step : number * step + step]) for number in range(self.header.segments)
        )
        return b"".join((self.header_bytes, *pieces))

    def opened(self, sealed: bytes) -> bytes:
        """The content of the whole document. Raises `WrongSeal`."""
        header = self.header
        if len(sealed) != header.document_bytes or not sealed.startswith(self.header_bytes):
            raise WrongSeal(f"document {header.document_id} is cut off, or has another header")
        view = memoryview(sealed)
        return b"".join(
            self.open(number, view[header.place(number) : header.place(number + 1)])
            for number in range(header.segments)
        )


class MasterKeys:
    """The master keys: `key` seals what is new (None: nothing is sealed), and it and `former_keys` open. 32 bytes each."""

    def __init__(
        self,
        key: bytes | None = None,
        former_keys: Sequence[bytes] = (),
        *,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        known = [*([key] if key is not None else []), *former_keys]
        if any(len(one) != MASTER_KEY_BYTES for one in known):
            raise ValueError(f"a master key has {MASTER_KEY_BYTES} bytes")
        self._by_id = {key_id_of(one): one for one in known}
        self._random_bytes = random_bytes
        self.key_id = key_id_of(key) if key is not None else None
        """The id of the key that seals what is new."""

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of all of them."""
        return frozenset(self._by_id)

    def new_seal(self) -> Seal:
        """One that nothing was sealed with. Raises ValueError where there is no key for what is new."""
        if self.key_id is None:
            raise ValueError("there is no key to seal with")
        return Seal(self.key_id, self._random_bytes(SALT_BYTES))

    def document(self, header: Header) -> SealedDocument:
        """To seal or open the document of this header. Raises `KeyMissing`."""
        return SealedDocument(self._key(header.seal, f"document {header.document_id}"), header)

    def seal_text(self, seal: Seal, text: bytes, about: bytes) -> bytes:
        """Nonce, text and tag; `about` has to be the same when it is opened. One seal may seal many texts. Raises `KeyMissing`."""
        nonce = self._random_bytes(NONCE_BYTES)
        return nonce + self._of_captions(seal).encrypt(nonce, text, about)

    def open_text(self, seal: Seal, sealed: bytes, about: bytes) -> bytes:
        """The text. Raises `WrongSeal` and `KeyMissing`."""
        aes = self._of_captions(seal)
        try:
            if len(sealed) < NONCE_BYTES + TAG_BYTES:
                raise InvalidTag
            return aes.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
        except InvalidTag:
            raise WrongSeal("a caption is not what was sealed") from None

    def _of_captions(self, seal: Seal) -> AESGCM:
        return AESGCM(_derived(self._key(seal, "a caption"), seal.salt, CAPTION_USE, MASTER_KEY_BYTES))

    def _key(self, seal: Seal, what: str) -> bytes:
        key = self._by_id.get(seal.key_id)
        if key is None:
            raise KeyMissing(
                f"{what} is sealed under the key {seal.key_id}, which is neither encryption.key nor among "
                "encryption.former_keys"
            )
        return key


def _nonce(number: int) -> bytes:
    return number.to_bytes(NONCE_BYTES, "big")


def _derived(master_key: bytes, salt: bytes, use: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=use).derive(master_key)
