"""HTTP dates (RFC 9110, section 5.6.7): three forms are read, one is written."""

from __future__ import annotations

import calendar
import re
import time
from datetime import date
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY, _LONG_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)", "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH, _CLOCK = rf"(?P<month>{'|'.join(_MONTHS)})", r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_FORMS = tuple(
    re.compile(form, re.ASCII)
    for form in (
        rf"{_DAY}, (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_CLOCK} GMT",
        rf"{_LONG_DAY}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_CLOCK} GMT",
        rf"{_DAY} {_MONTH} (?P<day>\d\d| \d) {_CLOCK} (?P<year>\d{{4}})",
    )
)
_TEXT_CHARS_MAX = 40


@lru_cache(maxsize=4096)
def format_http_date(time_s: int) -> str:
    """IMF-fixdate of UNIX seconds, independent of the locale."""
    at = time.gmtime(time_s)
    clock = f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}"
    return f"{_DAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04d} {clock} GMT"


def parse_http_date(text: str) -> int | None:
    """UNIX seconds, or None for what is no HTTP date.

    The two-digit years of RFC 850 mean 1970 to 2069: the rule of RFC 9110 needs a clock, and differs only for dates that S3 never
    gave out.
    """
    return _parse(text) if len(text) <= _TEXT_CHARS_MAX else None


@lru_cache(maxsize=1024)
def _parse(text: str) -> int | None:
    match = next((found for form in _FORMS if (found := form.fullmatch(text)) is not None), None)
    if match is None:
        return None
    year, day = int(match["year"]), int(match["day"])
    if len(match["year"]) == 2:
        year += 2000 if year < 70 else 1900
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    if hour > 23 or minute > 59 or second > 60:
        return None
    try:
        midnight = date(year, _MONTHS.index(match["month"]) + 1, day)
    except ValueError:
        return None
    return calendar.timegm((*midnight.timetuple()[:3], 0, 0, 0)) + 3600 * hour + 60 * minute + second
