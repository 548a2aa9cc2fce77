"""The file host: GET /file/bot<token>/<file_path>."""

import re

from addon.standin.answers import Answer, Span, failure
from addon.standin.bots import Bots
from addon.standin.connection import RequestHead
from addon.standin.failures import ApiError
from addon.standin.routes import Route
from addon.standin.switches import Switches
from addon.standin.world import World

_RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})\Z")


class Downloads:
    """Paths are looked up among the slots that getFile gave out, never on disk, so no path leads elsewhere."""

    def __init__(self, bots: Bots, switches: Switches) -> None:
        self._bots = bots
        self._switches = switches
        self._misses: dict[tuple[int, str], int] = {}

    def miss(self, bot_id: int, path: str, times: int) -> None:
        """Answer 404 for this path the next `times` times."""
        self._misses[bot_id, path] = times

    def clear(self) -> None:
        self._misses.clear()

    def answer(self, route: Route, head: RequestHead, world: World, now: float) -> Answer:
        not_found = failure(ApiError(404, "Not Found"))
        try:
            bot = self._bots.find(route.token, cloud=False)
        except ApiError:
            if self._switches.bad_token_on_files == 401:
                return failure(ApiError(401, "Unauthorized"))
            return not_found
        if self._switches.local or head.method == "POST":
            return not_found
        left = self._misses.get((bot.id, route.name), 0)
        if left:
            self._misses[bot.id, route.name] = left - 1
            return not_found
        slot = world.files.slot_at(bot.id, route.name, now, self._switches.path_lifetime_s)
        if slot is None:
            return not_found
        document = world.files.document(slot.document_id)
        span = Span(world.files.blob_path(document), 0, document.size)
        return ranged(span, head) if self._switches.range_support else _whole(span)


def _whole(span: Span, *headers: tuple[str, str]) -> Answer:
    return Answer(200, headers=(("Content-Type", "application/octet-stream"), *headers), span=span)


def ranged(span: Span, head: RequestHead) -> Answer:
    """206 for one satisfiable range, 416 for one that lies beyond the end, else the whole file (RFC 9110, section 14).

    Several ranges, and If-Range, whose validators this server never gave out, are answered with the whole file.
    """
    whole = _whole(span, ("Accept-Ranges", "bytes"))
    match = _RANGE.match(head.header("range").strip())
    if match is None or head.header("if-range") or not (match["first"] or match["last"]):
        return whole
    size = span.length
    if match["first"]:
        first = int(match["first"])
        last = min(int(match["last"]), size - 1) if match["last"] else size - 1
        if match["last"] and int(match["last"]) < first:
            return whole
    else:
        suffix = int(match["last"])
        first, last = (max(0, size - suffix), size - 1) if suffix else (size, size)
    if first >= size:
        headers = (("Content-Type", "text/html"), ("Content-Range", f"bytes */{size}"))
        return Answer(416, b"", headers)
    return Answer(
        206,
        headers=(
            ("Content-Type", "application/octet-stream"),
            ("Accept-Ranges", "bytes"),
            ("Content-Range", f"bytes {first}-{last}/{size}"),
        ),
        span=Span(span.path, first, last - first + 1),
    )
