"""How many uploads run at once: PUTs, parts, copies, browser uploads and bodies for the origin share one limit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from addon.s3.errors import S3Error


class UploadSlots:
    """`uploads_max` uploads run at once; more are told to slow down. `taken` are under way."""

    def __init__(self, uploads_max: int) -> None:
        self._uploads_max, self.taken = uploads_max, 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot. Raises SlowDown where none is free."""
        if self.taken >= self._uploads_max:
            raise S3Error("SlowDown", "Please reduce your request rate.", headers={"Retry-After": "1"})
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
