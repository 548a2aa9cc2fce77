"""Which call a request is, from its method and target. Pure: no I/O."""

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

TOKEN_CHARACTERS_MAX = 80

_API = re.compile(r"/bot(?P<token>[^/]*)(?P<test>/test)?/(?P<method>[^/]*)/?\Z")
_FILE = re.compile(r"/file/bot(?P<token>[^/]*)(?P<test>/test)?/(?P<path>.+)\Z", re.DOTALL)
_TOKEN = re.compile(r"(?P<id>[1-9][0-9]{0,17}):.*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Route:
    """`api`: `name` is the method in lower case. `file`: `name` is the path on the file host. The token is never printed."""

    kind: Literal["api", "file", "none"]
    name: str = ""
    token: str = field(default="", repr=False)
    test: bool = False
    query: str = ""


def find_route(target: str) -> Route:
    """Read a request's target; a full URL, as proxies send it, is understood too."""
    path, _, query = re.sub(r"\Ahttps?://[^/]*", "", target).partition("?")
    if match := _FILE.match(path):
        return Route("file", unquote(match["path"]), unquote(match["token"]), match["test"] is not None, query)
    if match := _API.match(path):
        return Route("api", unquote(match["method"]).lower(), unquote(match["token"]), match["test"] is not None, query)
    if path.startswith("/bot"):
        return Route("api", query=query)
    return Route("none", query=query)


def verb_allowed(verb: str, route: Route, *, head_support: bool) -> bool:
    """GET and POST only; the file host, another program in reality, also knows HEAD."""
    return verb in ("GET", "POST") or (verb == "HEAD" and route.kind == "file" and head_support)


def bot_id_of(token: str) -> int | None:
    """The bot's number in a well-formed token, else None (ClientManager.cpp of tdlib/telegram-bot-api)."""
    match = _TOKEN.match(token)
    return int(match["id"]) if match and len(token) <= TOKEN_CHARACTERS_MAX else None
