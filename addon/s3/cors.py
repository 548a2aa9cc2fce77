"""Cross-origin rules of a bucket: what they say, and which of them a request meets. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html: the first rule decides that allows the origin, the
method and, of a preflight, every header that the page wants to send. The headers of the answers are those of S3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from addon.s3.errors import S3Error
from addon.s3.header_values import is_clean
from addon.s3.xml import Node, document, malformed_xml, only_text, parse_xml

METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")
RULES_MAX = 100
ID_CHARS_MAX = 255
CONFIGURATION_BYTES_MAX = 64 * 1024

VARY = ("Origin", "Access-Control-Request-Headers", "Access-Control-Request-Method")
_CORS_PREFIX = "access-control-"

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class CorsRule:
    """One rule. Origins and headers may hold one `*`, which stands for any characters; headers are compared without case."""

    allowed_origins: Sequence[str]
    allowed_methods: Sequence[str]
    allowed_headers: Sequence[str] = ()
    expose_headers: Sequence[str] = ()
    max_age_s: int | None = None
    id: str = ""

    def allows(self, origin: str, method: str) -> bool:
        """Whether a page of this origin may use this method."""
        return method in self.allowed_methods and self.pattern_of(origin) is not None

    def pattern_of(self, origin: str) -> str | None:
        """The first of the allowed origins that this one matches."""
        return next((pattern for pattern in self.allowed_origins if _matches(pattern, origin)), None)

    def allows_headers(self, names: Iterable[str]) -> bool:
        """Whether a page may send all of these headers."""
        patterns = [pattern.lower() for pattern in self.allowed_headers]
        return all(any(_matches(pattern, name.lower()) for pattern in patterns) for name in names)


def response_headers(rules: Sequence[CorsRule], *, origin: str, method: str) -> list[tuple[str, str]]:
    """The headers that an answer to a page's request gets; none where no rule allows it."""
    rule = next((rule for rule in rules if rule.allows(origin, method)), None)
    return [] if rule is None else _granted(rule, origin, ())


def preflight_headers(rules: Sequence[CorsRule], headers: Headers) -> list[tuple[str, str]]:
    """The headers of the answer to a preflight with these headers (names in lower case).

    Raises BadRequest where it is none, AccessForbidden where no rule allows what it asks for.
    """
    origin, method, wanted = preflight_question(headers)
    for rule in rules:
        if rule.allows(origin, method) and rule.allows_headers(wanted):
            return _granted(rule, origin, wanted)
    raise S3Error(
        "AccessForbidden",
        "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / "
        "Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
        details={"Method": method, "ResourceType": "OBJECT"},
    )


def preflight_question(headers: Headers) -> tuple[str, str, Sequence[str]]:
    """Origin, method and headers that a preflight asks about. Raises BadRequest where one of the first two is missing or wrong."""
    asked = {name: value.strip(" \t") for name, value in headers if name == "origin" or name.startswith(_CORS_PREFIX)}
    origin = asked.get("origin", "")
    if not origin or not is_clean(origin):
        raise S3Error("BadRequest", "Insufficient information. Origin request header needed.")
    method = asked.get("access-control-request-method", "")
    if method not in METHODS:
        raise S3Error("BadRequest", f"Invalid Access-Control-Request-Method: {method or 'null'}")
    names = [name.strip(" \t").lower() for name in asked.get("access-control-request-headers", "").split(",")]
    return origin, method, [name for name in names if name]


def not_enabled(method: str) -> S3Error:
    """The refusal of a preflight for a bucket without rules."""
    return S3Error(
        "AccessForbidden",
        "CORSResponse: CORS is not enabled for this bucket.",
        details={"Method": method, "ResourceType": "BUCKET"},
    )


def with_cors(headers: Headers, granted: Headers) -> list[tuple[str, str]]:
    """An answer's headers with `granted` in place of whatever cross-origin headers they had; Vary names both's."""
    kept = [(name, value) for name, value in headers if not name.lower().startswith(_CORS_PREFIX)]
    if not granted:
        return kept
    varies = [value for name, value in kept if name.lower() == "vary"]
    named = {token.strip().lower() for value in varies for token in value.split(",")}
    vary = [*varies, *(name for name in VARY if name.lower() not in named)]
    kept = [pair for pair in kept if pair[0].lower() != "vary"]
    return [*kept, *(pair for pair in granted if pair[0] != "vary"), ("vary", ", ".join(vary))]


def has_cors(headers: Headers) -> bool:
    """Whether an answer has cross-origin headers."""
    return any(name.lower().startswith(_CORS_PREFIX) for name, _ in headers)


def _granted(rule: CorsRule, origin: str, wanted: Sequence[str]) -> list[tuple[str, str]]:
    """What S3 answers. The origin is named, with credentials, only where the rule does not allow it by a mere `*`."""
    if rule.pattern_of(origin) == "*":
        granted = [("access-control-allow-origin", "*")]
    else:
        granted = [("access-control-allow-origin", origin), ("access-control-allow-credentials", "true")]
    granted.append(("access-control-allow-methods", ", ".join(rule.allowed_methods)))
    if wanted:
        granted.append(("access-control-allow-headers", ", ".join(wanted)))
    if rule.expose_headers:
        granted.append(("access-control-expose-headers", ", ".join(rule.expose_headers)))
    if rule.max_age_s is not None:
        granted.append(("access-control-max-age", str(rule.max_age_s)))
    granted.append(("vary", ", ".join(VARY)))
    return granted


def _matches(pattern: str, text: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return text == pattern
    return len(text) >= len(before) + len(after) and text.startswith(before) and text.endswith(after)


def configuration_xml(rules: Sequence[CorsRule]) -> bytes:
    """The answer to GetBucketCors."""
    return document("CORSConfiguration", [("CORSRule", list(_rule_nodes(rule))) for rule in rules])


def _rule_nodes(rule: CorsRule) -> Iterable[Node]:
    if rule.id:
        yield "ID", rule.id
    for name, values in (
        ("AllowedMethod", rule.allowed_methods),
        ("AllowedOrigin", rule.allowed_origins),
        ("AllowedHeader", rule.allowed_headers),
        ("ExposeHeader", rule.expose_headers),
    ):
        yield from ((name, value) for value in values)
    if rule.max_age_s is not None:
        yield "MaxAgeSeconds", rule.max_age_s


def parse_configuration(body: bytes) -> Sequence[CorsRule]:
    """The rules in an origin's answer to GetBucketCors. Raises MalformedXML for what cannot be understood."""
    root = parse_xml(body, root="CORSConfiguration")
    rules = []
    for element in root.findall("CORSRule"):
        named = {
            name: [child.text or "" for child in element.findall(name)]
            for name in ("AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader")
        }
        values = [value for found in named.values() for value in found]
        if not all(is_clean(value) for value in values):
            raise malformed_xml()
        rules.append(
            CorsRule(
                allowed_origins=named["AllowedOrigin"],
                allowed_methods=named["AllowedMethod"],
                allowed_headers=named["AllowedHeader"],
                expose_headers=named["ExposeHeader"],
                max_age_s=_seconds(only_text(element, "MaxAgeSeconds")),
                id=only_text(element, "ID") or "",
            )
        )
    if len(rules) > RULES_MAX:
        raise malformed_xml()
    return rules


def _seconds(text: str | None) -> int | None:
    if text is None or not text.strip():
        return None
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit() and len(stripped) <= 10):
        raise malformed_xml()
    return int(stripped)
