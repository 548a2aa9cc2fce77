"""Policies: what they must look like, and what each condition lets through."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.errors import S3Error
from addon.s3.post_policy import PostPolicy, parse_post_policy

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
LATER = "2026-11-24T12:00:01Z"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()


def policy(*conditions: Any, expiration: object = LATER) -> PostPolicy:
    return parse_post_policy(encoded(json.dumps({"expiration": expiration, "conditions": list(conditions)})))


def denial(given_policy: PostPolicy, fields: Mapping[str, str], *, bucket: str = "images", now: datetime = NOW) -> str:
    """The message of the refusal, empty where there is none."""
    try:
        given_policy.check(fields, bucket=bucket, now=now)
    except S3Error as error:
        return error.message if error.code == "AccessDenied" else f"not a denial: {error}"
    return ""


def malformed(text: str) -> str:
    with pytest.raises(S3Error) as refused:
        parse_post_policy(text)
    assert refused.value.code == "InvalidPolicyDocument"
    return refused.value.message


BUCKET = {"bucket": "images"}


@pytest.mark.parametrize(
    ("condition", "fields", "passes"),
    [
        ({"acl": "public-read"}, {"acl": "public-read"}, True),
        ({"AcL": "public-read"}, {"acl": "public-read"}, True),
        ({"acl": "public-read"}, {"acl": "Public-read"}, False),
        ({"acl": "public-read"}, {"acl": "private"}, False),
        ({"acl": "public-read"}, {}, False),
        ({"acl": ""}, {"acl": ""}, True),
        ({"acl": ""}, {}, False),
        (["eq", "$key", "a"], {"key": "a"}, True),
        (["EQ", "$KEY", "a"], {"key": "a"}, True),
        (["eq", "$key", "a"], {"key": "ab"}, False),
        (["starts-with", "$key", "a"], {"key": "ab"}, True),
        (["StArTs-WiTh", "$kEy", "a"], {"key": "ab"}, True),
        (["starts-with", "$key", "ab"], {"key": "a"}, False),
        (["starts-with", "$key", ""], {"key": "anything"}, True),
        (["starts-with", "$key", ""], {}, False),
        (["starts-with", "$Content-Type", "image/"], {"content-type": "image/png"}, True),
        (["starts-with", "$Content-Type", "image/"], {"content-type": "image/png,image/gif"}, True),
        (["starts-with", "$Content-Type", "image/"], {"content-type": "image/png, image/gif"}, True),
        (["starts-with", "$Content-Type", "image/"], {"content-type": "image/png,text/html"}, False),
        (["starts-with", "$Content-Type", "image/"], {"content-type": "text/html,image/png"}, False),
        (["starts-with", "$Content-Type", "image/"], {"content-type": "image/png,"}, False),
        (["eq", "$Content-Type", "image/png,image/gif"], {"content-type": "image/png,image/gif"}, True),
        (["starts-with", "$x-amz-meta-list", "a"], {"x-amz-meta-list": "a,b"}, True),
        (["eq", "$x-amz-meta-name", "żółw"], {"x-amz-meta-name": "żółw"}, True),
    ],
)  # fmt: skip
def test_each_kind_of_condition(condition: Any, fields: Mapping[str, str], passes: bool) -> None:
    assert (denial(policy(BUCKET, condition), fields) == "") is passes


def test_a_failed_condition_is_quoted_as_s3_does() -> None:
    message = denial(
        policy(BUCKET, ["starts-with", "$key", "user/"], {"acl": "private"}), {"key": "k", "acl": "private"}
    )
    assert message == 'Invalid according to Policy: Policy Condition failed: ["starts-with", "$key", "user/"]'
    message = denial(policy(BUCKET, {"acl": "private"}), {"acl": "public-read"})
    assert message == 'Invalid according to Policy: Policy Condition failed: ["eq", "$acl", "private"]'


def test_every_condition_on_a_field_counts() -> None:
    both = policy(BUCKET, ["starts-with", "$key", "a"], ["starts-with", "$key", "ab"])
    assert denial(both, {"key": "abc"}) == ""
    assert denial(both, {"key": "acb"}) != ""
    assert denial(both, {"key": "b"}) != ""


@pytest.mark.parametrize("conditions", [[], [{"bucket": "other"}], [["eq", "$bucket", "image"]]])
def test_the_bucket_is_the_one_that_is_addressed(conditions: list[Any]) -> None:
    assert denial(policy(*conditions), {}) != ""
    assert denial(policy({"bucket": "images"}), {}) == ""
    assert denial(policy(["starts-with", "$bucket", "ima"]), {}) == ""
    # A field of that name changes nothing of what is addressed.
    assert denial(policy(*conditions), {"bucket": "other"}) != ""
    assert denial(policy(BUCKET), {"bucket": "other"}) != ""
    assert denial(policy(BUCKET), {"bucket": "images"}) == ""


@pytest.mark.parametrize("field", ["acl", "x-amz-meta-a", "tagging", "submit", "x-amz-date", "content-length-range"])
def test_a_field_that_no_condition_names_is_refused(field: str) -> None:
    assert denial(policy(BUCKET), {field: "v"}) == f"Invalid according to Policy: Extra input fields: {field}"


@pytest.mark.parametrize("field", ["policy", "x-amz-signature", "file", "x-ignore-submit", "x-ignore-"])
def test_fields_that_need_no_condition(field: str) -> None:
    assert denial(policy(BUCKET), {field: "v"}) == ""


def test_expiration_is_the_first_moment_that_is_too_late() -> None:
    assert denial(policy(BUCKET), {}, now=NOW + timedelta(microseconds=999_999)) == ""
    message = "Invalid according to Policy: Policy expired."
    assert denial(policy(BUCKET), {}, now=NOW + timedelta(seconds=1)) == message
    assert denial(policy(BUCKET, expiration="2007-12-01T12:00:00.000Z"), {}) == message


@pytest.mark.parametrize(
    "expiration",
    [
        "2026-11-24 12:00:00", "2026-11-24T12:00:00", "2026-11-24T12:00:00+00:00", "2026-13-24T12:00:00Z",
        "2026-02-29T12:00:00Z", "2026-11-24T24:00:00Z", "", None, 1795521600, ["2026-11-24T12:00:00Z"], "٢٠٢٦-11-24T12:00:00Z",
        "2026-11-24T12:00:00.Z", "2026-11-24T12:00:00.0000000000Z", "2026-11-24T12:00:00Z ", "x",
    ],
)  # fmt: skip
def test_expirations_that_are_none(expiration: object) -> None:
    document = json.dumps({"expiration": expiration, "conditions": []})
    assert "expiration" in malformed(encoded(document))


@pytest.mark.parametrize(
    "text",
    [
        "", "!", "e30", "e30=\n", "ÿ", encoded("\ud800"), encoded(""), encoded("[]"), encoded("{}"), encoded("null"), encoded("{"),
        encoded('{"conditions": []}'),
        encoded(f'{{"expiration": "{LATER}"}}'),
        encoded(f'{{"EXPIRATION": "{LATER}", "conditions": []}}'),
        encoded(f'{{"expiration": "{LATER}", "CONDITIONS": []}}'),
        encoded(f'{{"expiration": "{LATER}", "conditions": {{}}}}'),
        encoded(f'{{"expiration": "{LATER}", "conditions": [], "more": 1}}'),
        encoded(f'{{"expiration": "{LATER}", "conditions": [], "conditions": []}}'),
        encoded(f'{{"expiration": "{LATER}", "conditions": [{{"acl": "a", "acl": "b"}}]}}'),
        encoded(f'{{"expiration": "{LATER}", "conditions": [NaN]}}'),
        encoded("[" * 15_000),
        encoded('{"a":' * 3_000),
        encoded("9" * 15_000),
        encoded(f'{{"expiration": "{LATER}", "conditions": [["content-length-range", 0, {"9" * 5000}]]}}'),
    ],
)  # fmt: skip
def test_documents_that_are_none(text: str) -> None:
    malformed(text)


@pytest.mark.parametrize(
    "condition",
    [
        None, "", "eq", 1, True, [], {},
        ["eq"], ["eq", "$key"], ["eq", "key", "a"], ["eq", "$", "a"], ["eq", "$key", 1],
        ["eq", "$key", None], ["eq", "$key", "a", "b"], ["ends-with", "$key", "a"], [["eq", "$key", "a"]],
        {"acl": 1}, {"acl": None},
        {"acl": ["a"]}, {"acl": "a", "key": "b"}, {"": "a"}, ["eq", "$policy", "a"], ["eq", "$x-amz-signature", "a"],
        ["starts-with", "$file", ""],
        ["content-length-range"], ["content-length-range", 0], ["content-length-range", 0, 1, 2],
        ["content-length-range", -1, 0], ["content-length-range", 2, 1], ["content-length-range", 0, 1.0],
        ["content-length-range", 0, 1e400], ["content-length-range", "a", 1], ["content-length-range", True, 1],
        ["content-length-range", 0, None], ["content-length-range", "١", "٢"], ["content-length-range", 0, 10**15],
        ["content-length-range", "", "1"], ["content-length-range", " 0", "1"],
    ],
)  # fmt: skip
def test_conditions_that_are_none(condition: Any) -> None:
    malformed(encoded(json.dumps({"expiration": LATER, "conditions": [condition]})))


def test_all_length_ranges_hold_and_both_ends_belong_to_them() -> None:
    assert (policy().bytes_min, policy().bytes_max) == (0, None)
    ranges = policy(["content-length-range", 1, 10], ["Content-Length-Range", "5", "20"])
    assert (ranges.bytes_min, ranges.bytes_max) == (5, 10)


def test_a_dollar_sign_may_be_escaped() -> None:
    text = f'{{"expiration": "{LATER}", "conditions": [{{"bucket": "images"}}, ["eq", "$key", "a\\$b\\\\$c\\n"]]}}'
    assert denial(parse_post_policy(encoded(text)), {"key": "a$b\\$c\n"}) == ""


names = st.sampled_from(["key", "acl", "content-type", "x-amz-meta-a", "success_action_redirect"])
values = st.text(st.sampled_from("ab,/ ü"), max_size=4)


@given(st.dictionaries(names, values), st.lists(st.tuples(st.sampled_from(["eq", "starts-with"]), names, values)))
def test_what_passes_is_covered_and_meets_each_condition(
    fields: dict[str, str], conditions: list[tuple[str, str, str]]
) -> None:
    passed = denial(policy(BUCKET, *([how, f"${name}", value] for how, name, value in conditions)), fields) == ""
    covered = fields.keys() <= {name for _, name, _ in conditions}
    met = True
    for how, name, value in conditions:
        if name not in fields:
            met = False
        elif how == "eq":
            met = met and fields[name] == value
        elif name == "content-type":
            met = met and all(one.strip().startswith(value) for one in fields[name].split(","))
        else:
            met = met and fields[name].startswith(value)
    assert passed == (covered and met)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: base64.b64encode(data).decode()))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    code = ""
    try:
        parse_post_policy(text)
    except S3Error as error:
        code = error.code
    assert code in ("", "InvalidPolicyDocument")
