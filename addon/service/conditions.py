"""Conditional writes: what a request makes of the current object a condition of, judged early and handed to the commit.

Judging happens three times. Before the body, so that a refused upload sends nothing; again when its bytes are in Telegram, so that
what the origin holds is known freshly; and in the transaction that commits, where of several writers exactly one wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from addon.s3.errors import S3Error
from addon.s3.write_conditions import WantedState, wanted_by_delete, wanted_by_write
from addon.service.authorize import Call
from addon.service.origin_facts import facts_at_origin
from addon.service.reads import no_such_key
from addon.store.conditions import Verdict, WriteCondition, judge
from addon.store.object_store import ObjectStore
from addon.store.ports import Origin, WriteRefused


class Conditions:
    """Reads and judges the conditions of writes. `origins` are asked about keys of which the index knows nothing."""

    def __init__(self, store: ObjectStore, origins: Mapping[str, Origin | None]) -> None:
        self._store, self._origins = store, origins

    def has_condition(self, call: Call) -> bool:
        """Whether a PUT, a completion or a copy is conditional. Raises S3Error where its condition cannot be understood."""
        return wanted_by_write(call.headers) is not None

    async def of_write(self, call: Call) -> WriteCondition | None:
        """The condition of a PUT, a completion or a copy, for the commit; None where the request names none.

        Raises what it comes to already now: PreconditionFailed, NoSuchKey or ConditionalRequestConflict, AccessDenied where the
        origin does not tell, and NotImplemented for conditions that S3 does not take either.
        """
        wanted = wanted_by_write(call.headers)
        if wanted is None:
            return None
        return await self._judged(call.bucket.name, call.target.key, _condition(wanted))

    async def of_delete(self, call: Call) -> WriteCondition | None:
        """The same of a DELETE, but that there need not be an object: the delete itself finds that out, and is done then."""
        wanted = wanted_by_delete(call.headers)
        if wanted is None:
            return None
        return await self.with_facts(call.bucket.name, call.target.key, _condition(wanted))

    async def with_facts(self, bucket_name: str, key: str, condition: WriteCondition) -> WriteCondition:
        """`condition` with what the origin holds, where the index knows nothing of the key.

        Raises ConditionalRequestConflict while a write past us is under way: nobody can say then what the key holds.
        """
        if await self._store.index.has_origin_write(bucket_name, key):
            raise _refused(Verdict.CONFLICT, key, condition)
        if await self._store.state(bucket_name, key) is not None:
            return condition
        return replace(condition, at_origin=await facts_at_origin(self._origins, bucket_name, key))

    async def _judged(self, bucket_name: str, key: str, condition: WriteCondition) -> WriteCondition:
        condition = await self.with_facts(bucket_name, key, condition)
        verdict = judge(condition, await self._store.state(bucket_name, key))
        if verdict is not Verdict.HOLDS:
            raise _refused(verdict, key, condition)
        return condition


def refusal(error: WriteRefused, key: str = "", condition: WriteCondition | None = None) -> S3Error:
    """What a write is told whose condition does not hold; with `key` and `condition` the answer names them."""
    return _refused(error.verdict, key, condition)


def _condition(wanted: WantedState) -> WriteCondition:
    return WriteCondition(
        absent=wanted.absent, etag=wanted.etag, size=wanted.size, last_modified_s=wanted.last_modified_s
    )


def _refused(verdict: Verdict, key: str, condition: WriteCondition | None) -> S3Error:
    if verdict is Verdict.MISSING:
        return no_such_key(key)
    about = {"Key": key} if key else {}
    header = "If-None-Match" if condition is not None and condition.absent else "If-Match"
    named = {"Condition": header} if condition is not None else {}
    if verdict is Verdict.CONFLICT:
        return S3Error(
            "ConditionalRequestConflict",
            "The conditional request cannot succeed due to a conflicting operation against this resource.",
            details={**named, **about},
        )
    return S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", details=named)
