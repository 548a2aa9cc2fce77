"""The smallest request of each S3 operation, as botocore's model of S3 and its serializer make it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.model import OperationModel, Shape
from botocore.serialize import create_serializer

MODEL = botocore.session.get_session().get_service_model("s3")
# Requests that look the same as those of another operation, or go to another host.
SAME_REQUEST = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
    "ListDirectoryBuckets": "ListBuckets",
}
ELSEWHERE = {"WriteGetObjectResponse"}


@dataclass(frozen=True)
class SampleRequest:
    """`path` is `/`, `/a` (a bucket called `a`) or `/a/a` (an object in it)."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes


def smallest_request(name: str) -> SampleRequest:
    """The request of operation `name` with nothing but its required parameters."""
    model: OperationModel = MODEL.operation_model(name)
    parameters = _sample(model.input_shape) if model.input_shape is not None else {}
    request: dict[str, Any] = create_serializer("rest-xml", False).serialize_to_request(parameters, model)
    parts = urlsplit(request["url_path"])
    pairs = [(key, str(value)) for key, value in request["query_string"].items()]
    query = "&".join([*([parts.query] if parts.query else []), *(f"{key}={value}" for key, value in pairs)])
    headers = [(key.lower(), str(value)) for key, value in request["headers"].items()]
    body = request["body"]
    return SampleRequest(
        request["method"],
        parts.path,
        query,
        headers,
        body if isinstance(body, bytes) else str(body or "").encode(),
    )


def _sample(shape: Shape) -> Any:
    """The smallest value that botocore serializes for a shape."""
    if shape.type_name == "structure":
        return {name: _sample(shape.members[name]) for name in shape.required_members}
    if shape.type_name == "list":
        return [_sample(shape.member)]
    samples = {"string": "a", "integer": 1, "long": 1, "boolean": True, "blob": b"x", "timestamp": 0, "map": {}}
    return samples[shape.type_name]
