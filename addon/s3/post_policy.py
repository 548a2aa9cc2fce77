"""The policy document of a browser upload: read, and held against what the form says. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html. Messages are those of AWS where they are
known. The document is read only after its signature was verified; nevertheless all of it is bounded, as the form is.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from addon.s3.errors import S3Error

# The form itself is bounded far below this; a length in a policy above S3's largest object is a mistake.
LENGTH_DIGITS_MAX = 15

_NOT_COVERED_BY_CONDITIONS = frozenset({"file", "policy", "x-amz-signature"})
_IGNORED_PREFIX = "x-ignore-"
_EXPIRATION = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]{1,9})?Z")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Condition:
    """What one field must be; `name` in lower case and without its dollar sign. `shown` is the condition as S3 quotes it."""

    name: str
    value: str
    is_prefix: bool
    shown: str

    def holds(self, given: str | None) -> bool:
        """Whether the submitted value satisfies it; a field that was not submitted satisfies nothing, not even an empty prefix."""
        if given is None:
            return False
        if not self.is_prefix:
            return given == self.value
        # https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html, "Condition Matching": a list of
        # content types meets the condition only where each of them does.
        parts = [part.strip(" \t") for part in given.split(",")] if self.name == "content-type" else [given]
        return all(part.startswith(self.value) for part in parts)


@dataclass(frozen=True, slots=True)
class PostPolicy:
    """A policy document. The file's size in bytes must be within every pair of `length_ranges`, both ends included."""

    expiration: datetime
    conditions: Sequence[Condition]
    length_ranges: Sequence[tuple[int, int]]

    @property
    def bytes_min(self) -> int:
        """The smallest file that is allowed, in bytes."""
        return max((low for low, _ in self.length_ranges), default=0)

    @property
    def bytes_max(self) -> int | None:
        """The largest file that is allowed, in bytes; None where the policy does not say."""
        return min((high for _, high in self.length_ranges), default=None)

    def check(self, fields: Mapping[str, str], *, bucket: str, now: datetime) -> None:
        """Hold the form against the policy.

        `fields` are what was submitted before the file (lower-case names, variables expanded), `bucket` the one that the request
        addresses: a condition on the bucket is about that. Raises AccessDenied.
        """
        if now >= self.expiration:
            raise _denied("Policy expired.")
        values = {**fields, "bucket": bucket}
        if fields.get("bucket", bucket) != bucket:
            raise _denied("The form names another bucket.")
        for condition in self.conditions:
            if not condition.holds(values.get(condition.name)):
                raise _denied(f"Policy Condition failed: {condition.shown}")
        covered = {condition.name for condition in self.conditions} | _NOT_COVERED_BY_CONDITIONS
        extra = sorted(name for name in values if name not in covered and not name.startswith(_IGNORED_PREFIX))
        if extra:
            raise _denied(f"Extra input fields: {', '.join(extra)}")


def parse_post_policy(text: str) -> PostPolicy:
    """Read the base64 text of the field `policy`. Raises InvalidPolicyDocument for anything but a whole, known document."""
    document = _json(text)
    if not isinstance(document, dict):
        raise _malformed("Invalid Policy: a JSON object is expected.")
    for name in ("expiration", "conditions"):
        if name not in document:
            raise _malformed(f"Invalid Policy: Policy missing {name}.")
    unexpected = sorted(document.keys() - {"expiration", "conditions"})
    if unexpected:
        raise _malformed(f"Invalid Policy: Unexpected: {unexpected[0]!r}.")
    if not isinstance(document["conditions"], list):
        raise _malformed("Invalid Policy: Invalid 'conditions' value: must be a List.")
    conditions: list[Condition] = []
    length_ranges: list[tuple[int, int]] = []
    for given in document["conditions"]:
        match given:
            case dict():
                conditions.append(_simple(given))
            case [str() as operator, low, high] if operator.lower() == "content-length-range":
                length_ranges.append(_length_range(low, high))
            case [str() as operator, str() as name, str() as value]:
                conditions.append(_matching(operator, name, value))
            case _:
                raise _malformed("Invalid Condition: wrong number or kind of arguments.")
    return PostPolicy(_expiration(document["expiration"]), tuple(conditions), tuple(length_ranges))


def _json(text: str) -> Any:
    try:
        decoded = base64.b64decode(text.encode("ascii"), validate=True).decode("utf-8")
        # S3 knows an escape that JSON does not have: `\$` for a dollar sign.
        decoded = _ESCAPE.sub(lambda found: "$" if found[1] == "$" else found[0], decoded)
        return json.loads(
            decoded, object_pairs_hook=_object, parse_float=_refused_number, parse_constant=_refused_number
        )
    except (UnicodeError, binascii.Error):
        raise _malformed("Invalid Policy: base64 of UTF-8 text is expected.") from None
    except (ValueError, RecursionError):
        # ValueError: no JSON, or a number of more digits than Python converts. RecursionError: nested too deeply.
        raise _malformed("Invalid Policy: Invalid JSON.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name that stands twice is refused: of two readers one could see the first and one the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _malformed("Invalid Policy: a name stands twice in an object.")
    return found


def _refused_number(_text: str) -> Any:
    raise _malformed("Invalid Policy: numbers must be whole.")


def _expiration(value: object) -> datetime:
    found = _EXPIRATION.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        year, month, day, hour, minute, second = map(int, found.groups())
        try:
            return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            pass
    raise _malformed("Invalid Policy: Invalid 'expiration' value: a date like 2007-12-01T12:00:00.000Z is expected.")


def _simple(given: Mapping[str, Any]) -> Condition:
    if len(given) != 1:
        raise _malformed("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
    ((name, value),) = given.items()
    if not isinstance(value, str):
        raise _malformed("Invalid Simple-Condition: value must be a string.")
    return Condition(_name(name), value, is_prefix=False, shown=_shown("eq", f"${name}", value))


def _matching(operator: str, name: str, value: str) -> Condition:
    if operator.lower() not in ("eq", "starts-with"):
        raise _malformed("Invalid Condition: unknown operation; expected eq, starts-with or content-length-range.")
    if not name.startswith("$"):
        raise _malformed("Invalid Condition: the name of a field must begin with a dollar sign.")
    is_prefix = operator.lower() == "starts-with"
    return Condition(_name(name[1:]), value, is_prefix=is_prefix, shown=_shown(operator, name, value))


def _name(name: str) -> str:
    lowered = name.lower()
    if not lowered or lowered in _NOT_COVERED_BY_CONDITIONS:
        raise _malformed("Invalid Condition: there can be no condition on this field.")
    return lowered


def _length_range(low: object, high: object) -> tuple[int, int]:
    first, last = _length(low), _length(high)
    if first > last:
        raise _malformed("Invalid content-length-range: the first length is larger than the second.")
    return first, last


def _length(value: object) -> int:
    """A whole number of bytes; some libraries write it as text."""
    digits = value if isinstance(value, str) else str(value) if type(value) is int else ""
    if not (digits.isascii() and digits.isdigit() and len(digits) <= LENGTH_DIGITS_MAX):
        raise _malformed("Invalid content-length-range: lengths are whole numbers of bytes.")
    return int(digits)


def _shown(*parts: str) -> str:
    return json.dumps(parts, ensure_ascii=False)


def _denied(why: str) -> S3Error:
    return S3Error("AccessDenied", f"Invalid according to Policy: {why}")


def _malformed(why: str) -> S3Error:
    return S3Error("InvalidPolicyDocument", why)
