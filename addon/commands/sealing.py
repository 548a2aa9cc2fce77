"""`tgstore new-key` and `tgstore unseal`: a key to seal with, and a sealed document that was downloaded by hand."""

from __future__ import annotations

import base64
from pathlib import Path

from addon.commands.output import fail, say
from addon.config import Config
from addon.store.ports import KeyMissing
from addon.store.seal_format import NotSealed
from addon.store.sealed_files import open_file
from addon.store.sealing import MasterKeys, WrongSeal, new_master_key


def show_new_key() -> None:
    """Print a new key, and nothing else, on standard output."""
    say(base64.b64encode(new_master_key()).decode())


def unseal(config: Config, source: Path, target: Path) -> None:
    """Write the content of a sealed document. Ends the command with status 1 where it cannot be; then no file is left."""
    if target.exists():
        raise fail(f"{target} is there already")
    try:
        header = open_file(MasterKeys(*config.sealing_keys), source, target)
    except (OSError, NotSealed, KeyMissing, WrongSeal) as failure:
        target.unlink(missing_ok=True)
        raise fail(f"{source}: {failure}") from None
    say(f"document {header.document_id}: {header.content_bytes} bytes, sealed under key {header.seal.key_id}")
