"""What the tests of the ways a write can go share: how a bucket is used anew while the product runs, and what the origin holds."""

from __future__ import annotations

from typing import Any

import botocore.exceptions

from addon.config import load_config
from addon.store.ports import Index
from tests.service.fixtures import OriginServer
from tests.service.product import IMAGES, Product


def use(product: Product, *, mode: str = "store", writes: str = "telegram") -> None:
    """Change the settings of the bucket `images` and have them taken over, as the running addon does it."""
    path = product.folder / "config.toml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("mode =", "writes ="))]
    place = lines.index(f'name = "{IMAGES}"')
    lines[place + 1 : place + 1] = [f'mode = "{mode}"', f'writes = "{writes}"']
    path.write_text("\n".join(lines))
    product.gateway.take_over(load_config(path, {}))


def at_origin(origin_server: OriginServer, key: str) -> dict[str, Any] | None:
    """The origin's object with its body, None where it has none."""
    try:
        found = dict(origin_server.s3.get_object(Bucket="images-there", Key=key))
    except botocore.exceptions.ClientError:
        return None
    with found["Body"] as body:
        found["Body"] = body.read()
    return found


def tags_at_origin(origin_server: OriginServer, key: str) -> dict[str, str]:
    tags = origin_server.s3.get_object_tagging(Bucket="images-there", Key=key)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in tags}


async def no_marks(index: Index) -> bool:
    """Whether no write to the origin is noted as under way or cut off."""
    totals = await index.totals(IMAGES)  # type: ignore[attr-defined]
    return bool(totals.origin_writes == 0)
