"""What the fields of a browser upload say: the object's key and headers, and the answer that the page wants. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html, "Form Fields". A field that changes what happens, and is not
built here, is refused with NotImplemented; fields that S3 does not know (a page's own) are the policy's affair and mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode, urlsplit

from addon.s3.checksums import CHECKSUM_PREFIX, DIGEST_BYTES, ExpectedDigests
from addon.s3.errors import S3Error
from addon.s3.header_values import is_clean
from addon.s3.keys import decode_key, encode_key
from addon.s3.metadata import META_PREFIX, NewObjectHeaders, new_object_headers
from addon.s3.post_claim import POST_SIGNATURE_FIELDS
from addon.s3.tags import tags_from_xml
from addon.s3.xml import document

FILE_NAME_VARIABLE = "${filename}"

# Fields that become the header of the same name; but `acl` is x-amz-acl.
_HEADERS = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
        "acl",
        "x-amz-server-side-encryption",
        "x-amz-storage-class",
        "x-amz-website-redirect-location",
    }
)
_ALGORITHM = "x-amz-checksum-algorithm"
_DIGESTS = frozenset({"content-md5", "x-amz-sdk-checksum-algorithm", "x-amz-checksum-type"}) | {
    CHECKSUM_PREFIX + algorithm for algorithm in DIGEST_BYTES
}
# The bucket is the configured one, and nobody pays: as with a PUT.
_WITHOUT_EFFECT = frozenset({"x-amz-expected-bucket-owner", "x-amz-request-payer"})
# Conditions, which S3 does not know in forms; taken for a page's own fields they would be broken promises.
_CONDITIONS = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"})
_STATUSES: Mapping[str, int] = {"200": 200, "201": 201, "204": 204}
_PATH = re.compile(r".*[/\\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PostUpload:
    """A form's wishes: where the file goes, what the object is besides its bytes, and what is promised of them."""

    key: str
    headers: NewObjectHeaders
    expected: ExpectedDigests
    redirect: str | None
    status: int


def expanded(fields: Mapping[str, str], file_name: str) -> dict[str, str]:
    """The fields with `${filename}` replaced by the file's name, without the folders that some clients put before it.

    S3 knows it in all fields, and holds the policy against the result. What authenticates the form stays as it is.
    """
    name = _PATH.sub("", file_name)
    return {
        field: value if field in POST_SIGNATURE_FIELDS else value.replace(FILE_NAME_VARIABLE, name)
        for field, value in fields.items()
    }


def read_post_fields(fields: Mapping[str, str]) -> PostUpload:
    """Read the expanded fields. Raises what `new_object_headers`, `ExpectedDigests.from_headers`, `decode_key` and `tags_from_xml`
    raise, UserKeyMustBeSpecified, and NotImplemented for a field that is not built."""
    if not fields.get("key"):
        raise S3Error(
            "UserKeyMustBeSpecified",
            "The bucket POST must contain the specified field name. If it is specified, please check the order of the fields.",
            details={"ArgumentName": "key"},
        )
    for name in fields:
        if name in _CONDITIONS or (name.startswith("x-amz-") and not _is_known(name)):
            raise S3Error(
                "NotImplemented",
                "A form field you provided implies functionality that is not implemented",
                details={"Field": name},
            )
    named = [(name, _header(value)) for name, value in fields.items() if _is_header(name)]
    headers = new_object_headers([("x-amz-acl" if name == "acl" else name, value) for name, value in named])
    if "tagging" in fields:
        headers = replace(headers, tags=tags_from_xml(fields["tagging"].encode("utf-8")))
    return PostUpload(
        # Through its one spelling, so that the one decoder's rules hold here too.
        key=decode_key(encode_key(fields["key"])),
        headers=headers,
        expected=_expected(fields),
        redirect=_redirect(fields.get("success_action_redirect") or fields.get("redirect") or ""),
        status=_STATUSES.get(fields.get("success_action_status", ""), 204),
    )


def _is_header(name: str) -> bool:
    return name in _HEADERS or name.startswith(META_PREFIX)


def _is_known(name: str) -> bool:
    others = (_DIGESTS, POST_SIGNATURE_FIELDS, _WITHOUT_EFFECT, (_ALGORITHM,))
    return _is_header(name) or any(name in known for known in others)


def _header(value: str) -> str:
    """Header values are Latin-1 text of their bytes throughout the program."""
    return value.encode("utf-8").decode("latin-1")


def _expected(fields: Mapping[str, str]) -> ExpectedDigests:
    """What is promised of the file's bytes; an algorithm alone asks us to compute its checksum."""
    expected = ExpectedDigests.from_headers([(name, _header(fields[name])) for name in fields if name in _DIGESTS])
    algorithm = fields.get(_ALGORITHM, "").lower()
    if not algorithm:
        return expected
    if algorithm not in DIGEST_BYTES or (expected.value is not None and expected.algorithm != algorithm):
        raise S3Error("InvalidRequest", f"Value for {_ALGORITHM} is invalid.")
    return replace(expected, algorithm=algorithm)


def _redirect(location: str) -> str | None:
    """Where the browser is sent; None for what is no web address, which S3 then takes for not given."""
    try:
        parts = urlsplit(location)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return None
    return (
        location if usable and location.isprintable() and " " not in location and is_clean(_header(location)) else None
    )


def redirect_location(redirect: str, *, bucket: str, key: str, etag: str) -> str:
    """The redirect with what was stored appended to its query; a fragment stays at the end. As Latin-1 text."""
    address, hash_sign, fragment = redirect.partition("#")
    added = urlencode({"bucket": bucket, "key": key, "etag": f'"{etag}"'}, quote_via=quote, safe="~")
    separator = "&" if "?" in address else "?"
    return quote(f"{address}{separator}{added}{hash_sign}{fragment}", safe="!#$%&'()*+,/:;=?@[]~")


def post_response_xml(*, location: str, bucket: str, key: str, etag: str) -> bytes:
    """The answer with status 201."""
    return document(
        "PostResponse",
        [("Location", location), ("Bucket", bucket), ("Key", key), ("ETag", f'"{etag}"')],
        namespace="",
    )
