"""What can be chosen about the stand-in: points where the cloud's behaviour is unknown, or differs between servers."""

from dataclasses import dataclass
from typing import Literal

CLOUD_UPLOAD_BYTES_MAX = 50 * 1024 * 1024
LOCAL_UPLOAD_BYTES_MAX = 2000 * 1024 * 1024
DOWNLOAD_BYTES_MAX = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Switches:
    """The strict choice is the default everywhere; a test or a demonstration relaxes what it needs.

    The names `exact`, `generous` and `off` of `rate_limits` mean: Telegram's documented limits, forty times as much, none.
    """

    # The file host.
    range_support: bool = False
    head_support: bool = True
    bad_token_on_files: Literal[401, 404] = 404
    path_lifetime_s: float = 3600.0
    get_file_per_s_max: float = 0.0  # 0 = no limit; beyond it getFile says "temporarily unavailable", never 429

    # Uploads. `body` compares the whole request body with the limit, as a web server in front does; `file` the files alone.
    upload_limit_bytes: int | None = None
    upload_limit_counts: Literal["body", "file"] = "body"
    oversize_answer: Literal["late", "early"] = "late"
    thumbnails: bool = False
    album_partial: bool = False

    # Documents and their identifiers.
    dedupe: bool = False
    delete_kills_file: bool = (
        False  # a file dies with the last message that has it: deleted, or given another file by an edit
    )
    refresh_file_id: bool = True  # getFile answers with another valid file_id than the one that it was asked with

    # A malformed token: 401 as the published server answers it, or 404 `Not Found`, as api.telegram.org was seen to.
    cloud_404_for_malformed: bool = False

    # `--local` mode of the published server: large uploads, no download limit, files on disk instead of over HTTP.
    local: bool = False

    # Flood control.
    rate_limits: Literal["exact", "generous", "off"] = "exact"
    channel_limit: Literal["group", "private"] = (
        "group"  # a channel counts like a group (20 a minute) or like a user (1 a second)
    )
    extend_on_repeat: bool = False  # a call repeated before `retry_after` is over starts the wait again
    equal_size_throttle: bool = True
    throttle_delay: Literal["virtual", "real"] = "virtual"  # `virtual` writes the delay into the log without waiting

    @property
    def upload_bytes_max(self) -> int:
        """The upload limit in bytes that follows from `upload_limit_bytes` and `local`."""
        if self.upload_limit_bytes is not None:
            return self.upload_limit_bytes
        return LOCAL_UPLOAD_BYTES_MAX if self.local else CLOUD_UPLOAD_BYTES_MAX
