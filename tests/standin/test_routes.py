"""Which call a request is."""

import pytest

from addon.standin.routes import Route, bot_id_of, find_route, verb_allowed


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/bot1:a/getMe", Route("api", "getme", "1:a")),
        ("/bot1:a/GETME?x=1&y", Route("api", "getme", "1:a", query="x=1&y")),
        ("/bot1%3Aa/getMe", Route("api", "getme", "1:a")),
        ("/bot1:a/test/getMe", Route("api", "getme", "1:a", test=True)),
        ("http://h:1/bot1:a/getMe", Route("api", "getme", "1:a")),
        ("/file/bot1:a/documents/file_0.bin", Route("file", "documents/file_0.bin", "1:a")),
        ("/file/bot1:a/test/documents/f", Route("file", "documents/f", "1:a", test=True)),
        ("/file/bot1:a/../../etc/passwd", Route("file", "../../etc/passwd", "1:a")),
        ("/bot", Route("api")),
        ("/", Route("none")),
        ("/_ctl/state", Route("none")),
        ("/file/", Route("none")),
    ],
)
def test_routes(target: str, route: Route) -> None:
    assert find_route(target) == route


@pytest.mark.parametrize(
    ("token", "bot_id"),
    [
        ("123:abc", 123),
        ("0123:abc", None),
        ("123", None),
        ("abc:123", None),
        ("-1:abc", None),
        ("1:" + "x" * 78, 1),
        ("1:" + "x" * 79, None),
        ("", None),
    ],
)
def test_tokens(token: str, bot_id: int | None) -> None:
    assert bot_id_of(token) == bot_id


def test_a_route_does_not_print_its_token() -> None:
    assert "secret" not in repr(find_route("/bot1:secret/getMe"))


def test_verbs() -> None:
    api, file = Route("api"), Route("file")
    assert [verb_allowed(verb, api, head_support=True) for verb in ("GET", "POST", "HEAD", "PUT")] == [
        True,
        True,
        False,
        False,
    ]
    assert verb_allowed("HEAD", file, head_support=True)
    assert not verb_allowed("HEAD", file, head_support=False)
