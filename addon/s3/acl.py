"""Access control lists, as far as they say whether anyone may read an object: canned, as grants in headers, and as XML.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html. Two lists are kept: the owner alone (`private`), and the
owner and everyone who reads (`public-read`). Every other one is refused with NotImplemented: kept as one of the two, it would give
away too much, or too little.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from addon.s3.errors import S3Error
from addon.s3.xml import Node, document, only_text, parse_xml

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"

# The one owner of every bucket and object here, of the form of a canonical user id; it names nobody.
OWNER_ID = "7467737f72650000000000000000000000000000000000000000000000000001"
OWNER_NAME = "tgstore"
OWNER: Node = ("Owner", [("ID", OWNER_ID), ("DisplayName", OWNER_NAME)])

# A hundred grants, S3's limit, with room for long names.
ACL_BYTES_MAX = 64 << 10

CANNED = "x-amz-acl"
GRANTS_PREFIX = "x-amz-grant-"
GRANTS: Mapping[str, str] = {
    "x-amz-grant-full-control": "FULL_CONTROL",
    "x-amz-grant-read": "READ",
    "x-amz-grant-read-acp": "READ_ACP",
    "x-amz-grant-write": "WRITE",
    "x-amz-grant-write-acp": "WRITE_ACP",
}
"""The permission that each header grants."""

# `bucket-owner-…` gives rights to the owner of the bucket, who is the owner of the object here.
_ANONYMOUS_READ_BY_CANNED: Mapping[str, bool] = {
    "private": False,
    "bucket-owner-full-control": False,
    "bucket-owner-read": False,
    "public-read": True,
}
_CANNED_NOT_BUILT = frozenset({"authenticated-read", "aws-exec-read", "public-read-write"})
_PERMISSIONS = frozenset(GRANTS.values())

# Possessive throughout: a hostile header must not make the matcher go back and forth.
_GRANTEE = re.compile(r'[ \t]*+(id|uri|emailAddress)[ \t]*+=[ \t]*+(?:"([^"]*+)"|([^",]*+))[ \t]*+(,|$)', re.IGNORECASE)

_Grant = tuple[str, str]
"""A grantee (a user's id, or a group's URI) and a permission."""

_OWNERS: _Grant = (OWNER_ID, "FULL_CONTROL")
_ANYONES: _Grant = (ALL_USERS, "READ")


def anonymous_read_from_headers(by_name: Mapping[str, str]) -> bool | None:
    """Whether anyone may read, by `x-amz-acl` or the headers of `GRANTS` (lower-case names); None where there are none of them.

    Raises InvalidRequest where both are given, InvalidArgument where one cannot be understood, NotImplemented for other lists.
    """
    canned = by_name.get(CANNED)
    granting = {name: value for name, value in by_name.items() if name.startswith(GRANTS_PREFIX)}
    if canned is not None and granting:
        raise S3Error("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
    if canned is not None:
        return _canned(canned)
    if not granting:
        return None
    grants = {(grantee, GRANTS[name]) for name, value in granting.items() for grantee in _grantees(name, value)}
    # On S3 the owner can always read and change the list, whatever it says, and so it is here.
    return _meaning(grants | {_OWNERS})


def anonymous_read_from_xml(body: bytes) -> bool:
    """Whether anyone may read, by an AccessControlPolicy. Raises MalformedACLError and NotImplemented."""
    try:
        root = parse_xml(body, root="AccessControlPolicy")
        owner = root.find("Owner")
        lists = root.findall("AccessControlList")
        owner_id = only_text(owner, "ID") if owner is not None else None
        if not owner_id or len(lists) != 1 or len(root) != 2:
            raise _malformed()
        grants = [_grant(element) for element in lists[0]]
    except S3Error as error:
        raise (_malformed() if error.code == "MalformedXML" else error) from None
    # The origin may know its owner by another name than we do, and what it told may come back.
    return _meaning({((OWNER_ID if grantee == owner_id else grantee), permission) for grantee, permission in grants})


def acl_xml(*, anonymous_read: bool) -> bytes:
    """The answer to GetObjectAcl and GetBucketAcl."""
    grants: list[Node] = [_grant_node("CanonicalUser", [("ID", OWNER_ID), ("DisplayName", OWNER_NAME)], "FULL_CONTROL")]
    if anonymous_read:
        grants.append(_grant_node("Group", [("URI", ALL_USERS)], "READ"))
    return document("AccessControlPolicy", [OWNER, ("AccessControlList", grants)])


def _grant_node(kind: str, grantee: list[Node], permission: str) -> Node:
    attributes = f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="{kind}"'
    return ("Grant", [(f"Grantee {attributes}", grantee), ("Permission", permission)])


def _canned(acl: str) -> bool:
    if acl in _ANONYMOUS_READ_BY_CANNED:
        return _ANONYMOUS_READ_BY_CANNED[acl]
    if acl in _CANNED_NOT_BUILT:
        raise S3Error("NotImplemented", f"The ACL {acl} is not implemented by tgstore yet.")
    raise S3Error(
        "InvalidArgument",
        "The canned ACL is not one that S3 knows.",
        details={"ArgumentName": CANNED, "ArgumentValue": acl},
    )


def _grantees(name: str, value: str) -> Iterator[str]:
    """The users and groups that a header names: `id="…", uri="…"`."""
    if name not in GRANTS:
        raise _argument("There is no such permission.", name, value)
    position = 0
    while True:
        found = _GRANTEE.match(value, position)
        if found is None:
            raise _argument("Argument format not recognized", name, value)
        yield found[2] if found[2] is not None else found[3].strip(" \t")
        if not found[4]:
            return
        position = found.end()


def _grant(element: Element) -> _Grant:
    grantees, permission = element.findall("Grantee"), only_text(element, "Permission")
    if element.tag != "Grant" or len(grantees) != 1 or permission not in _PERMISSIONS:
        raise _malformed()
    named = [only_text(grantees[0], name) for name in ("ID", "URI", "EmailAddress")]
    given = [name for name in named if name]
    if len(given) != 1:
        raise _malformed()
    return given[0], permission


def _meaning(grants: set[_Grant]) -> bool:
    if grants == {_OWNERS}:
        return False
    if grants == {_OWNERS, _ANYONES}:
        return True
    raise S3Error(
        "NotImplemented",
        "Only the owner's full control, alone or with everyone's right to read, is implemented by tgstore.",
    )


def _malformed() -> S3Error:
    return S3Error(
        "MalformedACLError", "The XML you provided was not well-formed or did not validate against our published schema"
    )


def _argument(message: str, name: str, value: str) -> S3Error:
    return S3Error("InvalidArgument", message, details={"ArgumentName": name, "ArgumentValue": value})
