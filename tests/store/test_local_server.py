"""The whole product on a local Bot API server."""

from __future__ import annotations

import random
from pathlib import Path

from addon.standin.switches import Switches
from addon.store.records import ObjectRecord
from tests.service.fixtures import OriginServer
from tests.service.product import running_product
from tests.store.test_reader import forget_caches

SIZE = 45_000_000
LOCAL = Switches(local=True, rate_limits="off")


async def test_an_object_above_20_mb_in_one_document(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None
) -> None:
    body = random.Random(3).randbytes(SIZE)
    telegram = 'local = true\ndocument_bytes_max = "50MB"'
    async with running_product(tmp_path, origin_server.port, switches=LOCAL, telegram=telegram) as product:
        assert (await product.send("PUT", "k", body=body)).status_code == 200
        state = await product.state("k")
        assert isinstance(state, ObjectRecord)
        assert [extent.length for extent in state.extents] == [SIZE]
        assert product.sends() == 1
        for _ in range(2):
            forget_caches(product)
            assert (await product.send("GET", "k")).content == body
        ranged = await product.send("GET", "k", headers=[("range", "bytes=31000000-32999999")])
        assert (ranged.status_code, ranged.content) == (206, body[31_000_000:33_000_000])
        assert product.downloads() == 0
