"""Garbage collection in a running product, at a moment of the test's choice."""

from __future__ import annotations

from addon.index.sql_index import SqlIndex
from addon.store.eraser import Erased, Eraser
from addon.store.erasing import ErasureTerms
from addon.store.garbage import GarbageCollection, GarbageTerms
from addon.store.message_eraser import MessageEraser
from addon.store.retelling import Retelling
from addon.store.rewriter import Rewriter, Rewritten
from tests.service.product import Product, eventually

THOROUGH = GarbageTerms(ErasureTerms(grace_s=0.0, kept_since_s=None), dead_share=0.0, thorough=True)


def collection(product: Product) -> GarbageCollection:
    store, index = product.store, product.index
    assert isinstance(index, SqlIndex)
    documents = store._documents
    retelling = Retelling(index, documents, store.packer)
    return GarbageCollection(
        Rewriter(index, documents, store.packer, spool_dir=store.spool_dir),
        retelling,
        Eraser(index, MessageEraser(documents), retelling=retelling, forget=store.forget_documents),
    )


async def collect(product: Product) -> tuple[list[Rewritten], list[Erased]]:
    """All that is garbage goes, once what is under way is settled."""
    index = product.index
    assert isinstance(index, SqlIndex)
    rewritten: list[Rewritten] = []
    erased: list[Erased] = []

    async def nothing_waits() -> bool:
        await collection(product).run(THOROUGH, rewritten.append, erased.append)
        plan = await index.erasure_plan(THOROUGH.erasure, now_s=product.store.now_s())
        return not plan.in_packs.objects

    await eventually(nothing_waits, limit_s=60.0)
    return rewritten, erased
