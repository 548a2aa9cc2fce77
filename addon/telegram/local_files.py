"""Files of a local Bot API server (`telegram-bot-api --local`): getFile gives an absolute path, and whoever asked reads it from
disk (https://core.telegram.org/bots/api#using-a-local-bot-api-server).

The path comes from the server, which is ours, and is looked at all the same: it must be absolute and plain, and lead to a regular
file of the document's size, not to a link. The server puts the bot's token into it, so no error quotes it as it is.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncGenerator
from pathlib import PurePosixPath

from addon.telegram.client import BotApi
from addon.telegram.errors import FileUnreadable, MalformedAnswer, NetworkFailure, NotFound

READ_BYTES = 1 << 20

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_SHARE = "share the server's folder with tgstore under the same path, readable for its user"
_NOT_READABLE = {
    errno.EACCES: f"this process may not read it: {_SHARE}",
    errno.EPERM: f"this process may not read it: {_SHARE}",
    errno.ELOOP: "it is a symbolic link, which is not followed",
    errno.ENOTDIR: "a part of its path is no folder",
    errno.ENAMETOOLONG: "its path is too long",
}


async def local_file(
    bot: BotApi, file_path: str, *, size: int, offset: int, length: int
) -> AsyncGenerator[bytes, None]:
    """The bytes `offset … offset+length` of a file of `size` bytes, in pieces of at most 1 MiB, read in worker threads.

    Raises `FileUnreadable` where only the operator can help, `NotFound` where the file is not there, `MalformedAnswer` where it
    cannot be the document, `NetworkFailure` where the disk fails; what was given before that is right.
    """
    shown = bot.without_token(file_path)
    _check(file_path, shown)
    end = offset + length
    while offset < end:
        piece = await asyncio.to_thread(_read, file_path, shown, size, offset, min(READ_BYTES, end - offset))
        offset += len(piece)
        yield piece


def _check(file_path: str, shown: str) -> None:
    if not file_path.startswith("/"):
        raise FileUnreadable(
            "the server at telegram.api_url gives no absolute file_path: start it with --local, or set telegram.local = false"
        )
    if "\0" in file_path or str(PurePosixPath(file_path)) != file_path or ".." in PurePosixPath(file_path).parts:
        raise FileUnreadable(f"a file_path that is not plain: {shown!r}")


def _read(file_path: str, shown: str, size: int, offset: int, length: int) -> bytes:
    # Opened anew for each piece: a read may be cancelled while a thread is at it, and then nobody is left to close a file.
    failure: Exception
    try:
        descriptor = os.open(file_path, _FLAGS)
        try:
            found = os.fstat(descriptor)
            piece = os.pread(descriptor, length, offset) if stat.S_ISREG(found.st_mode) else b""
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        failure = NotFound("download", f"{shown} is not there: {_SHARE}")
    except OSError as error:
        advice = _NOT_READABLE.get(error.errno or 0)
        if advice is None:
            failure = NetworkFailure("download", f"{shown} cannot be read ({error.strerror})", ambiguous=False)
        else:
            failure = FileUnreadable(f"{shown}: {advice}")
    else:
        if not stat.S_ISREG(found.st_mode):
            failure = FileUnreadable(f"{shown} is no regular file")
        elif found.st_size != size or not piece:
            failure = MalformedAnswer("download", f"{shown} has {found.st_size} bytes, not {size}")
        else:
            return piece
    # Outside the handlers, so that no exception with the path, and the token in it, hangs on this one.
    raise failure
