"""From the URL of an object, as a site's pages link to it, to bucket and key: the ones that a request for it would be for."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from addon.s3.errors import S3Error
from addon.s3.hosts import named_bucket
from addon.s3.keys import decode_key

URL_LENGTH_MAX = 8192

# What a browser takes off both ends of a URL, and what it escapes in a path before it asks (https://url.spec.whatwg.org/#path-state);
# a percent sign stays as it is.
_TRIMMED = "".join(map(chr, range(0x21)))
_NOT_ESCAPED = "".join(chr(number) for number in range(0x21, 0x7F) if chr(number) not in '"<>`{}')
# Such segments never reach a server from a browser: it takes them out, and asks for another path.
_DOT_SEGMENT = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


class NotOurs(Exception):
    """The URL means no object of ours; the text is the reason."""


@dataclass(frozen=True, slots=True)
class ObjectUrl:
    """The object that a URL means. `has_more`: there was a query or fragment behind the path, which says nothing of the object."""

    bucket: str
    key: str
    has_more: bool


class ObjectUrls:
    """Reads URLs. `by_host` and `by_path` are as in `named_bucket`."""

    def __init__(self, by_host: Mapping[str, str], by_path: Mapping[str, Collection[str]]) -> None:
        self._by_host, self._by_path = by_host, by_path

    def read(self, url: str) -> ObjectUrl:
        """The object that `url` means. Raises `NotOurs`."""
        if len(url) > URL_LENGTH_MAX:
            raise NotOurs(f"the URL is longer than {URL_LENGTH_MAX} characters")
        try:
            parts = urlsplit(url.strip(_TRIMMED))
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise NotOurs("this is no URL") from None
        if parts.scheme not in ("http", "https") or not host:
            raise NotOurs("this is no URL of http or https with a host")
        if "@" in parts.netloc:
            raise NotOurs("the URL holds a user's name, which no link to an object has")
        if _DOT_SEGMENT.search(parts.path):
            raise NotOurs("the path has a segment . or .., which browsers take out before they ask")
        raw_path = quote(parts.path, safe=_NOT_ESCAPED, errors="surrogatepass") or "/"
        try:
            named = named_bucket(parts.netloc, raw_path, by_host=self._by_host, by_path=self._by_path)
            if named is None:
                raise NotOurs("its host (or the bucket in its path) is none of the configured ones")
            key = decode_key(named[1])
        except S3Error as error:
            raise NotOurs(f"its path is no key: {error.code}") from None
        if not key:
            raise NotOurs("it names a bucket and no key")
        return ObjectUrl(named[0], key, bool(parts.query or parts.fragment))


def without_secrets(url: str) -> str:
    """A URL to be shown: without what may hold a password, a signature or a token."""
    shown = re.split(r"[?#]", url, maxsplit=1)[0][:URL_LENGTH_MAX]
    return re.sub(r"//[^/]*@", "//", shown, count=1)
