"""What S3 says of a plain bucket: one of which nobody set anything. And the list of a caller's buckets.

Each answer is that of an AWS bucket whose objects may have access control lists, which is what buckets here are: so it has neither
ownership controls nor a block of public access. (https://docs.aws.amazon.com/AmazonS3/latest/API/ has a page for each.)
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from addon.s3.acl import OWNER, acl_xml
from addon.s3.errors import S3Error
from addon.s3.operation_names import Operation as Op
from addon.s3.query import parameters
from addon.s3.xml import Node, document

# Clients want a date of each bucket, and nobody told us one: the day on which S3 opened.
CREATION_DATE = "2006-03-14T00:00:00.000Z"

DEFAULT_REGION = "us-east-1"
BUCKETS_PER_PAGE_MAX = 10_000

_TOKEN_LENGTH_MAX = 1024

_PLAIN: Mapping[Op, bytes] = MappingProxyType(
    {
        Op.GET_BUCKET_ACCELERATE_CONFIGURATION: document("AccelerateConfiguration", []),
        Op.GET_BUCKET_ACL: acl_xml(anonymous_read=False),
        Op.GET_BUCKET_ENCRYPTION: document(
            "ServerSideEncryptionConfiguration",
            [
                (
                    "Rule",
                    [
                        ("ApplyServerSideEncryptionByDefault", [("SSEAlgorithm", "AES256")]),
                        ("BucketKeyEnabled", "false"),
                    ],
                )
            ],
        ),
        Op.GET_BUCKET_LOGGING: document("BucketLoggingStatus", []),
        Op.GET_BUCKET_NOTIFICATION_CONFIGURATION: document("NotificationConfiguration", []),
        Op.GET_BUCKET_REQUEST_PAYMENT: document("RequestPaymentConfiguration", [("Payer", "BucketOwner")]),
        Op.GET_BUCKET_VERSIONING: document("VersioningConfiguration", []),
    }
)

_NOT_THERE: Mapping[Op, tuple[str, str]] = MappingProxyType(
    {
        Op.GET_BUCKET_CORS: ("NoSuchCORSConfiguration", "The CORS configuration does not exist"),
        Op.GET_BUCKET_LIFECYCLE_CONFIGURATION: (
            "NoSuchLifecycleConfiguration",
            "The lifecycle configuration does not exist",
        ),
        Op.GET_BUCKET_OWNERSHIP_CONTROLS: (
            "OwnershipControlsNotFoundError",
            "The bucket ownership controls were not found",
        ),
        Op.GET_BUCKET_POLICY: ("NoSuchBucketPolicy", "The bucket policy does not exist"),
        Op.GET_BUCKET_POLICY_STATUS: ("NoSuchBucketPolicy", "The bucket policy does not exist"),
        Op.GET_BUCKET_REPLICATION: (
            "ReplicationConfigurationNotFoundError",
            "The replication configuration was not found",
        ),
        Op.GET_BUCKET_TAGGING: ("NoSuchTagSet", "The TagSet does not exist"),
        Op.GET_BUCKET_WEBSITE: (
            "NoSuchWebsiteConfiguration",
            "The specified bucket does not have a website configuration",
        ),
        Op.GET_OBJECT_LOCK_CONFIGURATION: (
            "ObjectLockConfigurationNotFoundError",
            "Object Lock configuration does not exist for this bucket",
        ),
        Op.GET_PUBLIC_ACCESS_BLOCK: (
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
        ),
    }
)

PLAIN_BUCKET_QUESTIONS = frozenset(_PLAIN) | frozenset(_NOT_THERE)
"""The operations that `plain_bucket_answer` knows."""


def plain_bucket_answer(operation: Op, bucket: str) -> bytes:
    """The body of the answer. Raises S3Error where a plain bucket has no such thing."""
    if operation in _PLAIN:
        return _PLAIN[operation]
    code, message = _NOT_THERE[operation]
    raise S3Error(code, message, details={"BucketName": bucket})


def location_xml(region: str) -> bytes:
    """The answer to GetBucketLocation: empty for the region that was there before there were regions."""
    return document("LocationConstraint", "" if region == DEFAULT_REGION else region)


@dataclass(frozen=True, slots=True)
class BucketsQuery:
    """What a ListBuckets asks for; `after` is the last bucket of the page before. `is_paged` says that any of it was given."""

    prefix: str = ""
    after: str = ""
    limit: int = BUCKETS_PER_PAGE_MAX
    region: str | None = None
    is_paged: bool = False


def parse_buckets_query(raw_query: str) -> BucketsQuery:
    """Read the parameters of ListBuckets. Raises InvalidArgument and InvalidURI."""
    asked = dict(parameters(raw_query))
    limit = asked.get("max-buckets", str(BUCKETS_PER_PAGE_MAX))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 5 and 1 <= int(limit) <= BUCKETS_PER_PAGE_MAX):
        raise _invalid("max-buckets", limit)
    return BucketsQuery(
        prefix=asked.get("prefix", ""),
        after=_after(asked.get("continuation-token", "")),
        limit=int(limit),
        region=asked.get("bucket-region"),
        is_paged=not asked.keys().isdisjoint({"prefix", "max-buckets", "continuation-token", "bucket-region"}),
    )


def buckets_xml(regions: Mapping[str, str], query: BucketsQuery) -> bytes:
    """The answer to ListBuckets; `regions` are the caller's buckets by name."""
    names = sorted(
        name
        for name, region in regions.items()
        if name.startswith(query.prefix) and name > query.after and query.region in (None, region)
    )
    page = names[: query.limit]
    children: list[Node] = [OWNER, ("Buckets", [_bucket(name, regions[name], query) for name in page])]
    if len(page) < len(names):
        children.append(("ContinuationToken", _token(page)))
    if query.prefix:
        children.append(("Prefix", query.prefix))
    return document("ListAllMyBucketsResult", children)


def _bucket(name: str, region: str, query: BucketsQuery) -> Node:
    told: list[Node] = [("Name", name), ("CreationDate", CREATION_DATE)]
    return ("Bucket", [*told, ("BucketRegion", region)] if query.is_paged else told)


def _token(page: Sequence[str]) -> str:
    return base64.urlsafe_b64encode(page[-1].encode()).decode("ascii")


def _after(token: str) -> str:
    try:
        if len(token) > _TOKEN_LENGTH_MAX:
            raise ValueError
        return base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise _invalid("continuation-token", token[:_TOKEN_LENGTH_MAX]) from None


def _invalid(name: str, value: str) -> S3Error:
    return S3Error(
        "InvalidArgument",
        f"The parameter {name} is not valid",
        details={"ArgumentName": name, "ArgumentValue": value},
    )
