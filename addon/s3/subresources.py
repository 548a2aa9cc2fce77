"""Which query parameters turn a request into another operation, by method: S3's dispatch as tables.

A name in these tables never lets a request pass as a plain read or write of an object, whatever the method: what the table has no
operation for is `Operation.UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from addon.s3.operation_names import Operation as Op

_Table = Mapping[str, Mapping[str, Op]]

BUCKET_SUBRESOURCES: _Table = MappingProxyType(
    {
        "abac": {"GET": Op.GET_BUCKET_ABAC, "PUT": Op.PUT_BUCKET_ABAC},
        "accelerate": {
            "GET": Op.GET_BUCKET_ACCELERATE_CONFIGURATION,
            "PUT": Op.PUT_BUCKET_ACCELERATE_CONFIGURATION,
        },
        "acl": {"GET": Op.GET_BUCKET_ACL, "PUT": Op.PUT_BUCKET_ACL},
        "analytics": {
            "GET": Op.GET_BUCKET_ANALYTICS_CONFIGURATION,
            "PUT": Op.PUT_BUCKET_ANALYTICS_CONFIGURATION,
            "DELETE": Op.DELETE_BUCKET_ANALYTICS_CONFIGURATION,
        },
        "cors": {"GET": Op.GET_BUCKET_CORS, "PUT": Op.PUT_BUCKET_CORS, "DELETE": Op.DELETE_BUCKET_CORS},
        "delete": {"POST": Op.DELETE_OBJECTS},
        "encryption": {
            "GET": Op.GET_BUCKET_ENCRYPTION,
            "PUT": Op.PUT_BUCKET_ENCRYPTION,
            "DELETE": Op.DELETE_BUCKET_ENCRYPTION,
        },
        "intelligent-tiering": {
            "GET": Op.GET_BUCKET_INTELLIGENT_TIERING_CONFIGURATION,
            "PUT": Op.PUT_BUCKET_INTELLIGENT_TIERING_CONFIGURATION,
            "DELETE": Op.DELETE_BUCKET_INTELLIGENT_TIERING_CONFIGURATION,
        },
        "inventory": {
            "GET": Op.GET_BUCKET_INVENTORY_CONFIGURATION,
            "PUT": Op.PUT_BUCKET_INVENTORY_CONFIGURATION,
            "DELETE": Op.DELETE_BUCKET_INVENTORY_CONFIGURATION,
        },
        "lifecycle": {
            "GET": Op.GET_BUCKET_LIFECYCLE_CONFIGURATION,
            "PUT": Op.PUT_BUCKET_LIFECYCLE_CONFIGURATION,
            "DELETE": Op.DELETE_BUCKET_LIFECYCLE,
        },
        "location": {"GET": Op.GET_BUCKET_LOCATION},
        "logging": {"GET": Op.GET_BUCKET_LOGGING, "PUT": Op.PUT_BUCKET_LOGGING},
        "metadataAnnotationTable": {"PUT": Op.UPDATE_BUCKET_METADATA_ANNOTATION_TABLE_CONFIGURATION},
        "metadataConfiguration": {
            "GET": Op.GET_BUCKET_METADATA_CONFIGURATION,
            "POST": Op.CREATE_BUCKET_METADATA_CONFIGURATION,
            "DELETE": Op.DELETE_BUCKET_METADATA_CONFIGURATION,
        },
        "metadataInventoryTable": {"PUT": Op.UPDATE_BUCKET_METADATA_INVENTORY_TABLE_CONFIGURATION},
        "metadataJournalTable": {"PUT": Op.UPDATE_BUCKET_METADATA_JOURNAL_TABLE_CONFIGURATION},
        "metadataTable": {
            "GET": Op.GET_BUCKET_METADATA_TABLE_CONFIGURATION,
            "POST": Op.CREATE_BUCKET_METADATA_TABLE_CONFIGURATION,
            "DELETE": Op.DELETE_BUCKET_METADATA_TABLE_CONFIGURATION,
        },
        "metrics": {
            "GET": Op.GET_BUCKET_METRICS_CONFIGURATION,
            "PUT": Op.PUT_BUCKET_METRICS_CONFIGURATION,
            "DELETE": Op.DELETE_BUCKET_METRICS_CONFIGURATION,
        },
        "notification": {
            "GET": Op.GET_BUCKET_NOTIFICATION_CONFIGURATION,
            "PUT": Op.PUT_BUCKET_NOTIFICATION_CONFIGURATION,
        },
        "object-lock": {"GET": Op.GET_OBJECT_LOCK_CONFIGURATION, "PUT": Op.PUT_OBJECT_LOCK_CONFIGURATION},
        "ownershipControls": {
            "GET": Op.GET_BUCKET_OWNERSHIP_CONTROLS,
            "PUT": Op.PUT_BUCKET_OWNERSHIP_CONTROLS,
            "DELETE": Op.DELETE_BUCKET_OWNERSHIP_CONTROLS,
        },
        "policy": {"GET": Op.GET_BUCKET_POLICY, "PUT": Op.PUT_BUCKET_POLICY, "DELETE": Op.DELETE_BUCKET_POLICY},
        "policyStatus": {"GET": Op.GET_BUCKET_POLICY_STATUS},
        "publicAccessBlock": {
            "GET": Op.GET_PUBLIC_ACCESS_BLOCK,
            "PUT": Op.PUT_PUBLIC_ACCESS_BLOCK,
            "DELETE": Op.DELETE_PUBLIC_ACCESS_BLOCK,
        },
        "replication": {
            "GET": Op.GET_BUCKET_REPLICATION,
            "PUT": Op.PUT_BUCKET_REPLICATION,
            "DELETE": Op.DELETE_BUCKET_REPLICATION,
        },
        "requestPayment": {"GET": Op.GET_BUCKET_REQUEST_PAYMENT, "PUT": Op.PUT_BUCKET_REQUEST_PAYMENT},
        "session": {"GET": Op.CREATE_SESSION},
        "tagging": {"GET": Op.GET_BUCKET_TAGGING, "PUT": Op.PUT_BUCKET_TAGGING, "DELETE": Op.DELETE_BUCKET_TAGGING},
        "uploads": {"GET": Op.LIST_MULTIPART_UPLOADS},
        "versioning": {"GET": Op.GET_BUCKET_VERSIONING, "PUT": Op.PUT_BUCKET_VERSIONING},
        "versions": {"GET": Op.LIST_OBJECT_VERSIONS},
        "website": {"GET": Op.GET_BUCKET_WEBSITE, "PUT": Op.PUT_BUCKET_WEBSITE, "DELETE": Op.DELETE_BUCKET_WEBSITE},
    }
)

# A GET of these without `id` lists the configurations.
LISTED_WITHOUT_ID: Mapping[str, Op] = MappingProxyType(
    {
        "analytics": Op.LIST_BUCKET_ANALYTICS_CONFIGURATIONS,
        "intelligent-tiering": Op.LIST_BUCKET_INTELLIGENT_TIERING_CONFIGURATIONS,
        "inventory": Op.LIST_BUCKET_INVENTORY_CONFIGURATIONS,
        "metrics": Op.LIST_BUCKET_METRICS_CONFIGURATIONS,
    }
)

OBJECT_SUBRESOURCES: _Table = MappingProxyType(
    {
        "acl": {"GET": Op.GET_OBJECT_ACL, "PUT": Op.PUT_OBJECT_ACL},
        "annotation": {
            "GET": Op.GET_OBJECT_ANNOTATION,
            "PUT": Op.PUT_OBJECT_ANNOTATION,
            "DELETE": Op.DELETE_OBJECT_ANNOTATION,
        },
        "attributes": {"GET": Op.GET_OBJECT_ATTRIBUTES},
        "encryption": {"PUT": Op.UPDATE_OBJECT_ENCRYPTION},
        "legal-hold": {"GET": Op.GET_OBJECT_LEGAL_HOLD, "PUT": Op.PUT_OBJECT_LEGAL_HOLD},
        "renameObject": {"PUT": Op.RENAME_OBJECT},
        "restore": {"POST": Op.RESTORE_OBJECT},
        "retention": {"GET": Op.GET_OBJECT_RETENTION, "PUT": Op.PUT_OBJECT_RETENTION},
        "select": {"POST": Op.SELECT_OBJECT_CONTENT},
        "tagging": {"GET": Op.GET_OBJECT_TAGGING, "PUT": Op.PUT_OBJECT_TAGGING, "DELETE": Op.DELETE_OBJECT_TAGGING},
        "torrent": {"GET": Op.GET_OBJECT_TORRENT},
        "uploadId": {
            "GET": Op.LIST_PARTS,
            "PUT": Op.UPLOAD_PART,
            "POST": Op.COMPLETE_MULTIPART_UPLOAD,
            "DELETE": Op.ABORT_MULTIPART_UPLOAD,
        },
        "uploads": {"POST": Op.CREATE_MULTIPART_UPLOAD},
        # No operation of AWS, but of other S3 servers (Ceph RGW, OSS): the body is added to an object.
        "append": {},
    }
)

# Parameters that qualify an operation; alone they are no sub-resource.
QUALIFIERS = frozenset({"versionId", "partNumber", "list-type"})

SUBRESOURCES = frozenset(BUCKET_SUBRESOURCES) | frozenset(OBJECT_SUBRESOURCES)

# S3's names are case-sensitive. A server behind us that is not must never disagree with us about what a request is.
LOOK_ALIKES: Mapping[str, str] = MappingProxyType({name.lower(): name for name in SUBRESOURCES | QUALIFIERS})
