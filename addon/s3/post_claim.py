"""What the form of a browser upload says of its own signature: checked for form, and not yet believed.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPPOST.html and …/RESTObjectPOST.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from addon.s3.errors import S3Error
from addon.s3.signature_claim import (
    ALGORITHM,
    SIGV4A_ALGORITHM_PREFIX,
    credential_malformed,
    parse_iso_basic,
    read_credential,
    sigv2_refused,
    sigv4a_refused,
)

# In the order in which a missing one is named.
_REQUIRED = ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
_SIGV2 = frozenset({"awsaccesskeyid", "signature"})
POST_SIGNATURE_FIELDS = frozenset(_REQUIRED) | {"x-amz-security-token"}
"""The fields that authenticate a form, lower case; all others describe the upload."""


@dataclass(frozen=True, slots=True)
class PostClaim:
    """What a form says of its signature: everything parsed, nothing believed. `policy` is the base64 text that was signed."""

    access_key_id: str
    scope_date: str
    region: str
    policy: str
    signature: str = field(repr=False)


def read_post_claim(fields: Mapping[str, str], service: str) -> PostClaim:
    """The claim of a form, well-formed; `fields` has lower-case names.

    Raises AccessDenied for a form that claims nothing, InvalidArgument for a field that is missing or wrong, InvalidRequest for
    Signature Version 2.
    """
    if not _SIGV2.isdisjoint(fields):
        raise sigv2_refused()
    if POST_SIGNATURE_FIELDS.isdisjoint(fields):
        raise S3Error("AccessDenied", "Access Denied")
    for name in _REQUIRED:
        if not fields.get(name):
            raise S3Error(
                "InvalidArgument",
                f"Bucket POST must contain a field named '{name}'. If it is specified, please check the order of the fields.",
                details={"ArgumentName": name},
            )
    algorithm = fields["x-amz-algorithm"]
    if algorithm.startswith(SIGV4A_ALGORITHM_PREFIX):
        raise sigv4a_refused("x-amz-algorithm")
    if algorithm != ALGORITHM:
        raise _invalid("x-amz-algorithm", f'x-amz-algorithm only supports "{ALGORITHM}"')
    key_id, scope_date, region = read_credential(fields["x-amz-credential"], service, credential_malformed)
    timestamp = fields["x-amz-date"]
    if parse_iso_basic(timestamp) is None:
        raise _invalid("x-amz-date", "x-amz-date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    if scope_date != timestamp[:8]:
        raise credential_malformed(
            f'Invalid credential date "{scope_date}". This date is not the same as x-amz-date: "{timestamp[:8]}".'
        )
    return PostClaim(key_id, scope_date, region, fields["policy"], fields["x-amz-signature"])


def _invalid(name: str, message: str) -> S3Error:
    return S3Error("InvalidArgument", message, details={"ArgumentName": name})
