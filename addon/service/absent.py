"""Negative answers: keys of which the origin said a moment ago that they are not there.

Remembered for the bucket's `negative_ttl_s` is a 404 to a plain GET or HEAD of a key of which the index knows nothing: what the
origin told strangers for strangers, what it told us for callers whom we verified. Never a 403, and nothing that another asker was
told.

An answer is never given again past a change of its key through us: each change forgets it, and an answer whose question began
before the change ended is not remembered at all. All of it is in memory, so a restart forgets everything.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from http import HTTPStatus

from addon.s3.errors import S3Error
from addon.s3.operations import Operation, Target
from addon.s3.query import parameters

# Answers that are remembered, and changes of keys; the ones used or made longest ago go first. A question that began before the
# oldest change that is remembered teaches nothing.
ANSWERS_MAX = 20_000
CHANGES_MAX = 10_000

_READS = frozenset({Operation.GET_OBJECT, Operation.HEAD_OBJECT})
# What makes an answer depend on more than the key.
_OTHER_CONDITIONS = frozenset({"x-amz-expected-bucket-owner", "x-amz-request-payer"})


def is_plain_read(target: Target, raw_query: str, headers: Sequence[tuple[str, str]]) -> bool:
    """Whether an answer "no such key" depends on nothing but key and asker. Header names in lower case."""
    if target.operation not in _READS or not target.key:
        return False
    if target.version_id is not None or target.part_number is not None:
        return False
    if any(name in _OTHER_CONDITIONS for name, _ in headers):
        return False
    try:
        # S3 refuses strangers these, whether the key is there or not (API_GetObject).
        return not any(name.lower().startswith("response-") for name, _ in parameters(raw_query))
    except S3Error:
        return False


class AbsentKeys:
    """What is remembered. `ttl_s` gives each bucket's `negative_ttl_s`, 0 where it is off."""

    def __init__(self, ttl_s: Callable[[str], float], *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s, self._monotonic_s = ttl_s, monotonic_s
        self._until_s: OrderedDict[tuple[str, str, bool], float] = OrderedDict()
        self._changes = 0
        self._changed: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._forgotten_changes = 0

    def is_known(self, bucket: str, key: str, *, anonymous: bool) -> bool:
        """Whether the origin's 404 for this asker counts now."""
        place = bucket, key, anonymous
        until_s = self._until_s.get(place)
        if until_s is None:
            return False
        if self._monotonic_s() >= until_s or not self._ttl_s(bucket):
            del self._until_s[place]
            return False
        self._until_s.move_to_end(place)
        return True

    def question(self) -> int:
        """Call before the origin is asked; `answered` takes what it returns."""
        return self._changes

    def answered(
        self,
        question: int,
        bucket: str,
        key: str,
        *,
        anonymous: bool,
        status: int,
        headers: Sequence[tuple[str, str]],
    ) -> None:
        """The origin answered; `headers` are its headers, names in lower case."""
        ttl_s = self._ttl_s(bucket)
        if not ttl_s or status != HTTPStatus.NOT_FOUND or not _is_plain_404(headers):
            return
        if question < self._changed.get((bucket, key), self._forgotten_changes):
            return
        place = bucket, key, anonymous
        self._until_s[place] = self._monotonic_s() + ttl_s
        self._until_s.move_to_end(place)
        if len(self._until_s) > ANSWERS_MAX:
            self._until_s.popitem(last=False)

    def changed(self, bucket: str, key: str) -> None:
        """A write, delete or copy of the key begins, or has ended."""
        for anonymous in (False, True):
            self._until_s.pop((bucket, key, anonymous), None)
        self._changes += 1
        self._changed[bucket, key] = self._changes
        self._changed.move_to_end((bucket, key))
        if len(self._changed) > CHANGES_MAX:
            _, self._forgotten_changes = self._changed.popitem(last=False)


def _is_plain_404(headers: Sequence[tuple[str, str]]) -> bool:
    """Whether it is S3's 404 without anything that ours would not say: a delete marker, a page of some web server."""
    told = dict(headers)
    if any(name in ("x-amz-delete-marker", "x-amz-version-id") for name in told):
        return False
    kind = told.get("content-type", "application/xml").partition(";")[0].strip().lower()
    return kind in ("application/xml", "text/xml")
