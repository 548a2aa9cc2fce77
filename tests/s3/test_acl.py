"""Access control lists: two meanings, every way to say them, and a refusal for all else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.acl import (
    ACL_BYTES_MAX,
    ALL_USERS,
    OWNER_ID,
    acl_xml,
    anonymous_read_from_headers,
    anonymous_read_from_xml,
)
from addon.s3.errors import S3Error

ANYONE = f'uri="{ALL_USERS}"'
OWNER = f'id="{OWNER_ID}"'
READ, FULL = "x-amz-grant-read", "x-amz-grant-full-control"


@pytest.mark.parametrize(
    ("headers", "anonymous_read"),
    [
        ({}, None),
        ({"x-amz-acl": "private"}, False),
        ({"x-amz-acl": "bucket-owner-full-control"}, False),
        ({"x-amz-acl": "bucket-owner-read"}, False),
        ({"x-amz-acl": "public-read"}, True),
        ({READ: ANYONE}, True),
        ({READ: f"uri={ALL_USERS}"}, True),
        ({READ: f" URI = {ALL_USERS} "}, True),
        ({READ: f"{ANYONE}, {ANYONE}"}, True),
        ({READ: ANYONE, FULL: OWNER}, True),
        ({FULL: OWNER}, False),
    ],
)
def test_headers_that_mean_one_of_the_two(headers: dict[str, str], anonymous_read: bool | None) -> None:
    assert anonymous_read_from_headers(headers) is anonymous_read


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-acl": "public-read-write"}, "NotImplemented"),
        ({"x-amz-acl": "authenticated-read"}, "NotImplemented"),
        ({"x-amz-acl": "aws-exec-read"}, "NotImplemented"),
        ({"x-amz-acl": "Private"}, "InvalidArgument"),
        ({"x-amz-acl": ""}, "InvalidArgument"),
        ({"x-amz-acl": "private", READ: ANYONE}, "InvalidRequest"),
        ({READ: f'{ANYONE}, id="0123"'}, "NotImplemented"),
        ({READ: 'id="0123"'}, "NotImplemented"),
        ({READ: 'emailAddress="a@example.com"'}, "NotImplemented"),
        ({READ: 'uri="http://acs.amazonaws.com/groups/global/AuthenticatedUsers"'}, "NotImplemented"),
        ({READ: ANYONE, "x-amz-grant-read-acp": ANYONE}, "NotImplemented"),
        ({"x-amz-grant-write": ANYONE}, "NotImplemented"),
        ({"x-amz-grant-write-acp": OWNER}, "NotImplemented"),
        ({FULL: ANYONE}, "NotImplemented"),
        ({READ: ""}, "InvalidArgument"),
        ({READ: "anyone"}, "InvalidArgument"),
        ({READ: f"{ANYONE},"}, "InvalidArgument"),
        ({READ: f"{ANYONE} {ANYONE}"}, "InvalidArgument"),
        ({READ: 'uri="'}, "InvalidArgument"),
        ({"x-amz-grant-other": ANYONE}, "InvalidArgument"),
    ],
)
def test_other_headers_are_refused(headers: dict[str, str], code: str) -> None:
    with pytest.raises(S3Error) as refused:
        anonymous_read_from_headers(headers)
    assert refused.value.code == code


@pytest.mark.parametrize("start", ["", "id=", 'id="a"', "id=a"])
def test_a_hostile_header_takes_no_longer_than_another(start: str) -> None:
    """Most of its blanks could belong to each of three places in the pattern: seconds for two thousand of them, years for these."""
    with pytest.raises(S3Error) as refused:
        anonymous_read_from_headers({READ: f'{start}{" " * 60_000}"'})
    assert refused.value.code == "InvalidArgument"


@given(value=st.text(st.sampled_from('id=ur",AlUsers \t')) | st.text())
def test_any_grant_is_read_or_refused(value: str) -> None:
    with pytest.raises(S3Error) as refused:
        anonymous_read_from_headers({READ: value})
    assert refused.value.code in ("InvalidArgument", "NotImplemented")


def grant(grantee: str, permission: str) -> str:
    return f"<Grant><Grantee>{grantee}</Grantee><Permission>{permission}</Permission></Grant>"


def policy(*grants: str, owner: str = "<Owner><ID>me</ID></Owner>") -> bytes:
    return (
        f"<AccessControlPolicy>{owner}<AccessControlList>{''.join(grants)}</AccessControlList></AccessControlPolicy>"
    ).encode()


MINE = grant("<ID>me</ID><DisplayName>I</DisplayName>", "FULL_CONTROL")
ALL = grant(f"<URI>{ALL_USERS}</URI>", "READ")


@pytest.mark.parametrize("anonymous_read", [False, True])
def test_what_is_answered_is_understood(anonymous_read: bool) -> None:
    written = acl_xml(anonymous_read=anonymous_read)
    assert anonymous_read_from_xml(written) is anonymous_read
    assert written.count(b"</Grantee>") == written.count(b"xsi:type=") == 1 + anonymous_read


@pytest.mark.parametrize(
    ("body", "anonymous_read"),
    [
        (policy(MINE), False),
        (policy(MINE, MINE), False),
        (policy(MINE, ALL), True),
        (policy(ALL, MINE), True),
        (policy(grant(f"<ID>{OWNER_ID}</ID>", "FULL_CONTROL"), ALL), True),
    ],
)
def test_policies_that_mean_one_of_the_two(body: bytes, anonymous_read: bool) -> None:
    assert anonymous_read_from_xml(body) is anonymous_read


@pytest.mark.parametrize(
    "body",
    [
        policy(),
        policy(ALL),
        policy(MINE, grant("<ID>you</ID>", "READ")),
        policy(grant("<ID>you</ID>", "FULL_CONTROL")),
        policy(MINE, grant(f"<URI>{ALL_USERS}</URI>", "WRITE")),
        policy(MINE, ALL, grant(f"<URI>{ALL_USERS}</URI>", "READ_ACP")),
        policy(MINE, grant("<EmailAddress>a@example.com</EmailAddress>", "READ")),
        policy(grant("<ID>me</ID>", "READ")),
    ],
)
def test_other_policies_are_not_implemented(body: bytes) -> None:
    with pytest.raises(S3Error) as refused:
        anonymous_read_from_xml(body)
    assert refused.value.code == "NotImplemented"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<AccessControlPolicy/>",
        policy(MINE, owner=""),
        policy(MINE, owner="<Owner/>"),
        policy(MINE, owner="<Owner><ID></ID></Owner>"),
        policy(MINE, owner="<Owner><ID>me</ID></Owner><Owner><ID>me</ID></Owner>"),
        policy(MINE, owner="<Owner><ID>me</ID></Owner><AccessControlList/>"),
        policy("<Grant/>"),
        policy("<Grant><Permission>READ</Permission></Grant>"),
        policy("<Grant><Grantee/><Permission>READ</Permission></Grant>"),
        policy(grant("<ID>me</ID><URI>x</URI>", "READ")),
        policy(grant("<ID>me</ID>", "EVERYTHING")),
        policy(grant("<ID>me</ID>", "")),
        policy(MINE.replace("Grant>", "Give>")),
        b'<!DOCTYPE a [<!ENTITY b "c">]>' + policy(MINE),
        b"&" * ACL_BYTES_MAX,
    ],
)
def test_what_is_no_policy_is_malformed(body: bytes) -> None:
    with pytest.raises(S3Error) as refused:
        anonymous_read_from_xml(body)
    assert refused.value.code == "MalformedACLError"
