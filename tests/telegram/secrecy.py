"""The tokens of the tests, and how to see that they show nowhere."""

from __future__ import annotations

import traceback

from tests.standin_fixture import BOT_A, BOT_B

TOKEN = "4711:AAsecret-Token_part"
SECRETS = tuple(token.partition(":")[2] for token in (TOKEN, BOT_A, BOT_B))


def assert_no_token(*things: object) -> None:
    """Not in a text; not in an exception, its traceback, its attributes or anything that it hangs on."""
    for thing in things:
        text = str(thing) + repr(thing)
        seen = thing if isinstance(thing, BaseException) else None
        if seen is not None:
            text += "".join(traceback.format_exception(seen))
        while seen is not None:
            text += repr(seen) + str(seen) + str(getattr(seen, "__dict__", ""))
            seen = seen.__cause__ or seen.__context__
        assert not [secret for secret in SECRETS if secret in text]
