"""What becomes of a write that went past us, by what it was and what the origin said; in passthrough all of them go past us."""

from __future__ import annotations

import pytest

from addon.proxy.passage import Passage
from addon.proxy.routes import Route
from addon.proxy.switch import Seen
from addon.store.ports import IndexUnavailable
from addon.store.records import CopyOrder, CopyState, ObjectRecord
from tests.service.fixtures import OriginServer, moto, origin_server, product, quick_retries  # noqa: F401 -- fixtures
from tests.service.product import IMAGES, Product, eventually
from tests.service.written import no_marks, use


@pytest.fixture
async def passing(product: Product) -> Product:  # noqa: F811 -- the fixture
    """In passthrough."""
    use(product, mode="passthrough")
    return product


async def begun(product: Product, method: str, key: str, query: str = "") -> Passage | None:  # noqa: F811
    routing = await product.gateway._switch.route(Seen(method, f"{IMAGES}.test", f"/{key}", query, []))
    assert routing is not None
    assert routing.route is Route.ORIGIN_ANONYMOUS
    return await product.gateway._passages.begin(routing, method)


WRITES: list[tuple[str, str, int | None, bytes, set[str]]] = [
    ("PUT", "", 200, b"", set()),
    ("DELETE", "", 204, b"", set()),
    ("POST", "uploadId=u", 200, b"<CompleteMultipartUploadResult/>", set()),
    ("POST", "uploadId=u", 200, b"  <Error><Code>InternalError</Code></Error>", {"written", "moved"}),
    ("PUT", "", 403, b"", {"written", "moved"}),
    ("PUT", "", None, b"", {"written"}),
    ("PUT", "tagging", 200, b"", {"written"}),
    ("PUT", "acl", 200, b"", {"written"}),
    ("DELETE", "versionId=v", 204, b"", {"written"}),
    ("PUT", "partNumber=1&uploadId=u", 200, b"", {"written", "moved"}),
]


async def test_what_is_held_after_each_write_past_us(
    product: Product,  # noqa: F811 -- the fixtures
    origin_server: OriginServer,  # noqa: F811
) -> None:
    """`written` is here alone, `moved` a copy."""
    for number in range(len(WRITES)):
        origin_server.put(f"moved-{number}", b"x")
        await product.send("GET", f"moved-{number}")
        assert (await product.send("PUT", f"written-{number}", body=b"ours")).status_code == 200
    for number in range(len(WRITES)):
        await product.copied(f"moved-{number}")
    use(product, mode="passthrough")
    for number, (method, query, status, body, kept) in enumerate(WRITES):
        for name in ("written", "moved"):
            passage = await begun(product, method, f"{name}-{number}", query)
            assert passage is not None
            await product.gateway._passages.end(passage, status, body)
        held = {
            name for name in ("written", "moved") if isinstance(await product.state(f"{name}-{number}"), ObjectRecord)
        }
        assert (method, query, status, held) == (method, query, status, kept)
    assert await no_marks(product.index)


async def test_reads_in_passthrough_ask_no_index_and_order_no_copy(
    passing: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise IndexUnavailable("it is down")

    with monkeypatch.context() as patched:
        patched.setattr(passing.index, "key_state", fails)
        passage = await begun(passing, "GET", "unmoved")
    assert passage is not None
    passing.gateway._passages.answered(passage, 200, None)
    assert passing.gateway._passages._copier._orders == {}


async def test_copies_wait_until_the_bucket_is_a_store_again(
    passing: Product,
    origin_server: OriginServer,  # noqa: F811 -- the fixture
) -> None:
    for key, bucket in (("later", "images-there"), ("now", "other-there")):
        origin_server.put(key, b"x", bucket)
    orders = [CopyOrder(IMAGES, "later", anonymous_read=False), CopyOrder("other", "now", anonymous_read=False)]
    assert await passing.index.enqueue_copies(orders, now_s=0.0) == 2
    await passing.copied("now", "other")
    (job,) = await passing.jobs()
    assert (job.state, job.attempts) == (CopyState.WAITING, 0)
    use(passing)

    async def is_copied() -> bool:
        return isinstance(await passing.state("later"), ObjectRecord)

    await eventually(is_copied)
