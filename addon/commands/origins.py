"""Which origin a command may ask."""

from __future__ import annotations

from collections.abc import Mapping

from addon.index.sql_index import SqlIndex
from addon.store.ports import Origin


async def origin_to_ask(index: SqlIndex, origins: Mapping[str, Origin | None], bucket: str) -> Origin | str:
    """The bucket's origin, or in words why there is none to be asked."""
    origin = origins[bucket]
    if origin is None:
        return f"bucket {bucket} has no origin"
    if (await index.bucket_facts(bucket)).retired_at_s is not None:
        return f"the origin of bucket {bucket} is retired (tgstore unretire {bucket} undoes that)"
    return origin
