"""What a message says of its document, read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption that is ours: what it says, and how the document is sealed that it belongs to: `key_id` and `segment_bytes` as
    those of `Document`."""

    about: Mapping[str, Any]
    key_id: str = ""
    segment_bytes: int = 0


def open_caption(caption: str) -> Caption | None:
    """What a message's caption says; None where it is nobody's or somebody else's."""
    about = _json_of(caption)
    return None if about is None else Caption(about)


def _json_of(text: str) -> Mapping[str, Any] | None:
    try:
        about = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return about if isinstance(about, dict) and "tgstore" in about else None
