"""Every operation of S3 through the product: what is forwarded arrives at the origin signed by us, what is refused does not."""

from __future__ import annotations

import hashlib

from addon.s3.operations import HANDLING, Handling, Operation
from tests.operation_samples import ELSEWHERE, MODEL, SAME_REQUEST, smallest_request
from tests.service.product import ALONE, HOST, IMAGES, ORIGIN_KEY, USER, Answer, Product
from tests.service.signing import sign

NAMES = {name: Operation(SAME_REQUEST.get(name, name)) for name in sorted(set(MODEL.operation_names) - ELSEWHERE)}


def names_of(handling: Handling) -> list[str]:
    return [name for name, operation in NAMES.items() if HANDLING[operation] is handling]


async def ask(product: Product, name: str, bucket: str) -> Answer:
    """The smallest request of an operation, to `bucket` where it is one about a bucket."""
    request = smallest_request(name)
    path = f"/{bucket}{request.path.removeprefix('/a')}" if request.path.startswith("/a") else request.path
    target = f"{path}?{request.query}" if request.query else path
    headers = [pair for pair in request.headers if pair[0] != "x-amz-content-sha256"]
    digest = hashlib.sha256(request.body).hexdigest()
    signed = sign(USER, request.method, target, HOST, headers, payload=digest)
    return await product.send_as_is(request.method, target, signed.headers, request.body)


async def test_what_only_the_origin_knows_is_asked_there_signed_by_us(product: Product) -> None:
    wrong = {}
    for name in names_of(Handling.FORWARD):
        product.origin.received.clear()
        await ask(product, name, IMAGES)
        if product.origin.received.count(f"Credential={ORIGIN_KEY.access_key_id}/".encode()) != 1:
            wrong[name] = bytes(product.origin.received[:200])
        if (alone := (await ask(product, name, ALONE)).code) != "NotImplemented":
            wrong[name] = alone.encode()
    assert not wrong


async def test_what_is_not_done_is_refused_and_the_origin_hears_nothing(product: Product) -> None:
    answers = {
        (name, bucket): await ask(product, name, bucket)
        for name in names_of(Handling.REFUSE)
        for bucket in (IMAGES, ALONE)
    }
    assert {place: answer.code for place, answer in answers.items() if answer.code != "NotImplemented"} == {}
    assert not product.origin.received


async def test_what_is_done_here_has_a_handler(product: Product) -> None:
    answers = {name: await ask(product, name, ALONE) for name in names_of(Handling.NATIVE)}
    assert {name for name, answer in answers.items() if answer.code == "NotImplemented"} == set()
