from __future__ import annotations
from tests.service.product import Product

async def test_smoke(product: Product):
    r = await product.send("PUT", "a b/c", body=b"hello")
    assert r.status_code == 200, r.text
    g = await product.send("GET", "a b/c")
    assert g.content == b"hello"
    assert product.spooled() == []
    assert len(product.documents_in_telegram()) == 1
    assert product.origin.requests == []
async def test_smoke2(product: Product, origin_server):
    origin_server.put("k", b"x"*1000)
    r = await product.send("GET", "k")
    assert r.status_code == 200, r.text
    await product.copied("k")
    print(product.origin.requests)
