"""What becomes of each operation at present, with the reason.

`NATIVE` is done here. `FORWARD` goes to the origin, signed anew, where the origin can know the right answer: for a key that was
written or deleted here it cannot, and the object service says NotImplemented then. `REFUSE` is NotImplemented always.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from addon.s3.operation_names import Operation as Op


class Handling(enum.Enum):
    """See the module."""

    NATIVE = "native"
    FORWARD = "forward"
    REFUSE = "refuse"


_DECISIONS: tuple[tuple[Handling, str, tuple[Op, ...]], ...] = (
    (
        Handling.NATIVE,
        "the object store's own work; of other versions, and of uploads begun at the origin, only the origin knows",
        (
            Op.ABORT_MULTIPART_UPLOAD,
            Op.COMPLETE_MULTIPART_UPLOAD,
            Op.COPY_OBJECT,
            Op.CREATE_MULTIPART_UPLOAD,
            Op.DELETE_OBJECT,
            Op.DELETE_OBJECTS,
            Op.GET_OBJECT,
            Op.HEAD_OBJECT,
            Op.LIST_PARTS,
            Op.POST_OBJECT,
            Op.PUT_OBJECT,
            Op.UPLOAD_PART,
            Op.UPLOAD_PART_COPY,
        ),
    ),
    (
        Handling.NATIVE,
        "merged from the index and the origin",
        (Op.LIST_MULTIPART_UPLOADS, Op.LIST_OBJECTS, Op.LIST_OBJECTS_V2),
    ),
    (
        Handling.NATIVE,
        "answered here for what was written here; for all else the origin is asked",
        (
            Op.DELETE_OBJECT_TAGGING,
            Op.GET_OBJECT_ACL,
            Op.GET_OBJECT_ATTRIBUTES,
            Op.GET_OBJECT_TAGGING,
            Op.PUT_OBJECT_ACL,
            Op.PUT_OBJECT_TAGGING,
        ),
    ),
    (Handling.NATIVE, "answered from the settings", (Op.GET_BUCKET_LOCATION, Op.HEAD_BUCKET, Op.LIST_BUCKETS)),
    (
        Handling.NATIVE,
        "the origin's answer while there is one, else that of a plain bucket; CORS rules may be set here",
        (
            Op.CORS_PREFLIGHT,
            Op.GET_BUCKET_ACCELERATE_CONFIGURATION,
            Op.GET_BUCKET_ACL,
            Op.GET_BUCKET_CORS,
            Op.GET_BUCKET_ENCRYPTION,
            Op.GET_BUCKET_LIFECYCLE_CONFIGURATION,
            Op.GET_BUCKET_LOGGING,
            Op.GET_BUCKET_NOTIFICATION_CONFIGURATION,
            Op.GET_BUCKET_OWNERSHIP_CONTROLS,
            Op.GET_BUCKET_POLICY,
            Op.GET_BUCKET_POLICY_STATUS,
            Op.GET_BUCKET_REPLICATION,
            Op.GET_BUCKET_REQUEST_PAYMENT,
            Op.GET_BUCKET_TAGGING,
            Op.GET_BUCKET_VERSIONING,
            Op.GET_BUCKET_WEBSITE,
            Op.GET_OBJECT_LOCK_CONFIGURATION,
            Op.GET_PUBLIC_ACCESS_BLOCK,
        ),
    ),
    (
        Handling.FORWARD,
        "the origin's view of the bucket; keys that are only here are missing from it",
        (Op.LIST_OBJECT_VERSIONS,),
    ),
    (
        Handling.FORWARD,
        "properties of an object that only the origin keeps; right for keys that were not written or deleted here",
        (
            Op.DELETE_OBJECT_ANNOTATION,
            Op.GET_OBJECT_ANNOTATION,
            Op.GET_OBJECT_LEGAL_HOLD,
            Op.GET_OBJECT_RETENTION,
            Op.GET_OBJECT_TORRENT,
            Op.LIST_OBJECT_ANNOTATIONS,
            Op.PUT_OBJECT_ANNOTATION,
            Op.PUT_OBJECT_LEGAL_HOLD,
            Op.PUT_OBJECT_RETENTION,
        ),
    ),
    (
        Handling.FORWARD,
        "reads of the bucket's settings, which are the origin's; a preflight asks for one of them",
        (
            Op.GET_BUCKET_ABAC,
            Op.GET_BUCKET_ANALYTICS_CONFIGURATION,
            Op.GET_BUCKET_INTELLIGENT_TIERING_CONFIGURATION,
            Op.GET_BUCKET_INVENTORY_CONFIGURATION,
            Op.GET_BUCKET_METADATA_CONFIGURATION,
            Op.GET_BUCKET_METADATA_TABLE_CONFIGURATION,
            Op.GET_BUCKET_METRICS_CONFIGURATION,
            Op.LIST_BUCKET_ANALYTICS_CONFIGURATIONS,
            Op.LIST_BUCKET_INTELLIGENT_TIERING_CONFIGURATIONS,
            Op.LIST_BUCKET_INVENTORY_CONFIGURATIONS,
            Op.LIST_BUCKET_METRICS_CONFIGURATIONS,
        ),
    ),
    (
        Handling.FORWARD,
        "reports and labels of the bucket at its origin; nothing here depends on them",
        (
            Op.CREATE_BUCKET_METADATA_CONFIGURATION,
            Op.CREATE_BUCKET_METADATA_TABLE_CONFIGURATION,
            Op.DELETE_BUCKET_ANALYTICS_CONFIGURATION,
            Op.DELETE_BUCKET_INTELLIGENT_TIERING_CONFIGURATION,
            Op.DELETE_BUCKET_INVENTORY_CONFIGURATION,
            Op.DELETE_BUCKET_METADATA_CONFIGURATION,
            Op.DELETE_BUCKET_METADATA_TABLE_CONFIGURATION,
            Op.DELETE_BUCKET_METRICS_CONFIGURATION,
            Op.DELETE_BUCKET_TAGGING,
            Op.PUT_BUCKET_ACCELERATE_CONFIGURATION,
            Op.PUT_BUCKET_ANALYTICS_CONFIGURATION,
            Op.PUT_BUCKET_INTELLIGENT_TIERING_CONFIGURATION,
            Op.PUT_BUCKET_INVENTORY_CONFIGURATION,
            Op.PUT_BUCKET_METRICS_CONFIGURATION,
            Op.PUT_BUCKET_TAGGING,
            Op.UPDATE_BUCKET_METADATA_ANNOTATION_TABLE_CONFIGURATION,
            Op.UPDATE_BUCKET_METADATA_INVENTORY_TABLE_CONFIGURATION,
            Op.UPDATE_BUCKET_METADATA_JOURNAL_TABLE_CONFIGURATION,
        ),
    ),
    (
        Handling.REFUSE,
        "rules about who may read or write, which reads answered here would not follow",
        (
            Op.DELETE_BUCKET_OWNERSHIP_CONTROLS,
            Op.DELETE_BUCKET_POLICY,
            Op.DELETE_PUBLIC_ACCESS_BLOCK,
            Op.PUT_BUCKET_ABAC,
            Op.PUT_BUCKET_ACL,
            Op.PUT_BUCKET_OWNERSHIP_CONTROLS,
            Op.PUT_BUCKET_POLICY,
            Op.PUT_BUCKET_REQUEST_PAYMENT,
            Op.PUT_PUBLIC_ACCESS_BLOCK,
        ),
    ),
    (
        Handling.REFUSE,
        "rules about what happens to objects, which objects stored here would not follow",
        (
            Op.DELETE_BUCKET_CORS,
            Op.DELETE_BUCKET_ENCRYPTION,
            Op.DELETE_BUCKET_LIFECYCLE,
            Op.DELETE_BUCKET_REPLICATION,
            Op.DELETE_BUCKET_WEBSITE,
            Op.PUT_BUCKET_CORS,
            Op.PUT_BUCKET_ENCRYPTION,
            Op.PUT_BUCKET_LIFECYCLE_CONFIGURATION,
            Op.PUT_BUCKET_LOGGING,
            Op.PUT_BUCKET_NOTIFICATION_CONFIGURATION,
            Op.PUT_BUCKET_REPLICATION,
            Op.PUT_BUCKET_VERSIONING,
            Op.PUT_BUCKET_WEBSITE,
            Op.PUT_OBJECT_LOCK_CONFIGURATION,
        ),
    ),
    (
        Handling.REFUSE,
        "the objects that it makes are not written through us, so what is held of them could not be superseded",
        (Op.RENAME_OBJECT, Op.RESTORE_OBJECT),
    ),
    (
        Handling.REFUSE,
        "it reaches beyond the one bucket that the origin's credentials are meant for, or hands those rights out",
        (Op.CREATE_BUCKET, Op.CREATE_SESSION, Op.DELETE_BUCKET, Op.LIST_DIRECTORY_BUCKETS),
    ),
    (
        Handling.REFUSE,
        "it computes on, or encrypts anew, bytes that may not be the current ones at the origin",
        (Op.SELECT_OBJECT_CONTENT, Op.UPDATE_OBJECT_ENCRYPTION),
    ),
    (Handling.REFUSE, "not understood", (Op.UNKNOWN,)),
)

HANDLING: Mapping[Op, Handling] = MappingProxyType(
    {operation: handling for handling, _, operations in _DECISIONS for operation in operations}
)
"""Every operation has exactly one entry; a test holds it so."""

HANDLING_REASON: Mapping[Op, str] = MappingProxyType(
    {operation: reason for _, reason, operations in _DECISIONS for operation in operations}
)
"""Why, for people."""

REPLACES_OBJECT = frozenset({Op.PUT_OBJECT, Op.COPY_OBJECT, Op.COMPLETE_MULTIPART_UPLOAD, Op.DELETE_OBJECT})
"""Success makes the key's current object another one, or none. Not so a DELETE of one version: `Target.replaces_object`."""

MULTIPART_STEPS = frozenset(
    {
        Op.ABORT_MULTIPART_UPLOAD,
        Op.CREATE_MULTIPART_UPLOAD,
        Op.LIST_PARTS,
        Op.UPLOAD_PART,
        Op.UPLOAD_PART_COPY,
    }
)
"""Steps around an upload; they neither show nor change the object that stands under the key."""

KEY_IN_BODY = frozenset({Op.DELETE_OBJECTS, Op.POST_OBJECT, Op.RENAME_OBJECT, Op.RESTORE_OBJECT})
"""Writes that touch keys which the path does not name; so nothing can be superseded when the origin accepts them."""
