"""Where a request goes: the table of the design as one pure function."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from addon.s3.operations import KEY_IN_BODY, MULTIPART_STEPS, REPLACES_OBJECT, Operation
from addon.store.records import ObjectRecord, Tombstone, is_ours_alone


class Claim(enum.Enum):
    """Whose signature a request claims to bear; nothing is verified yet."""

    ANONYMOUS = "anonymous"
    KNOWN_KEY = "known_key"
    UNKNOWN_KEY = "unknown_key"


class Route(enum.Enum):
    """Where to. `ORIGIN_UNTOUCHED` keeps host and path, because they are signed; `ORIGIN_ANONYMOUS` has them in the origin's own
    address style; `MEMORY` may be answered at once where the bytes are in memory, else it is `SERVICE`."""

    MEMORY = "memory"
    SERVICE = "service"
    ORIGIN_UNTOUCHED = "origin_untouched"
    ORIGIN_ANONYMOUS = "origin_anonymous"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the decision needs to know of a request.

    `state` is what the index knows of the key, `copy_source_state` the same of a copy source in one of our buckets;
    `whole` is false for a request about one version or part, `conditional` true for one that names what the key must hold to be
    written; `changing` says that a write past us is under way for the key;
    `has_cors_rules` that the settings have cross-origin rules for the bucket; `from_page` that a browser asks for a page of another
    origin, whose answer has headers for that page; `passes_through` that the origin gets everything as it came.
    """

    operation: Operation
    claim: Claim
    has_origin: bool
    reject_unknown_keys: bool
    anonymous_read: bool
    state: ObjectRecord | Tombstone | None = None
    copy_source_state: ObjectRecord | Tombstone | None = None
    whole: bool = True
    conditional: bool = False
    changing: bool = False
    has_cors_rules: bool = False
    from_page: bool = False
    passes_through: bool = False


# What the origin may be asked of a key although its version of it is out of date: it neither shows nor changes an object there.
NEVER_ABOUT_THE_OBJECT = MULTIPART_STEPS | {Operation.CORS_PREFLIGHT}
LISTINGS = frozenset({Operation.LIST_OBJECTS, Operation.LIST_OBJECTS_V2})
READS = frozenset({Operation.GET_OBJECT, Operation.HEAD_OBJECT})


def decide(facts: Facts) -> Route:
    """The route of one request for one of our buckets."""
    if facts.passes_through and facts.has_origin:
        return _route_of_passthrough(facts)
    if facts.claim is Claim.KNOWN_KEY or not facts.has_origin:
        return Route.SERVICE
    if facts.claim is Claim.UNKNOWN_KEY and facts.reject_unknown_keys:
        return Route.SERVICE
    if facts.operation in KEY_IN_BODY or is_ours_alone(facts.copy_source_state):
        # What such a write changes cannot be seen from outside, or it would bring back a version that is out of date.
        return Route.SERVICE
    if facts.operation is Operation.CORS_PREFLIGHT and facts.has_cors_rules:
        return Route.SERVICE
    if facts.claim is Claim.ANONYMOUS and facts.operation in LISTINGS:
        # It asks the origin as anonymously, and knows what came and went here.
        return Route.SERVICE
    if facts.claim is Claim.ANONYMOUS and facts.operation in READS and facts.whole and _anyone_may_read(facts):
        return Route.SERVICE if facts.from_page else Route.MEMORY
    if is_ours_alone(facts.state) and not _right_at_the_origin(facts):
        return Route.SERVICE
    return Route.ORIGIN_ANONYMOUS if facts.claim is Claim.ANONYMOUS else Route.ORIGIN_UNTOUCHED


def _route_of_passthrough(facts: Facts) -> Route:
    """As it came, but for writes whose keys stand in the body: the service sees to it that what is held of them is superseded."""
    if facts.operation in KEY_IN_BODY:
        return Route.SERVICE
    return Route.ORIGIN_ANONYMOUS if facts.claim is Claim.ANONYMOUS else Route.ORIGIN_UNTOUCHED


def _right_at_the_origin(facts: Facts) -> bool:
    """Whether the origin can do this rightly although its version is out of date.

    It can replace the whole object, but not under a condition, which it would judge by its own version. A DELETE of one version
    replaces nothing: were it let through, its success would be taken for the end of what only we hold.
    """
    if facts.operation in NEVER_ABOUT_THE_OBJECT:
        return True
    return facts.operation in REPLACES_OBJECT and facts.whole and not facts.conditional


def _anyone_may_read(facts: Facts) -> bool:
    """We hold the object, it may be read anonymously, and it is not being replaced at the origin while it is only a copy."""
    if not isinstance(facts.state, ObjectRecord) or not (facts.state.anonymous_read or facts.anonymous_read):
        return False
    return is_ours_alone(facts.state) or not facts.changing
