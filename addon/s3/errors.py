"""S3 errors as values: one place knows the code, the status and the XML of every refusal.

Source of codes and statuses: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
No handler builds error XML or invents a status; it raises `S3Error`, and the edge of the program turns it into a response.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

STATUS_BY_CODE: Mapping[str, int] = {
    "AccessDenied": 403,
    "AccessForbidden": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "BadDigest": 400,
    "BadRequest": 400,
    "ConditionalRequestConflict": 409,
    "EntityTooLarge": 400,
    "EntityTooSmall": 400,
    "IncompleteBody": 400,
    "IncorrectNumberOfFilesInPostRequest": 400,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidChunkSizeError": 400,
    "InvalidDigest": 400,
    "InvalidPart": 400,
    "InvalidPartNumber": 416,
    "InvalidPartOrder": 400,
    "InvalidPolicyDocument": 400,
    "InvalidRange": 416,
    "InvalidRedirectLocation": 400,
    "InvalidRequest": 400,
    "InvalidStorageClass": 400,
    "InvalidTag": 400,
    "InvalidToken": 400,
    "InvalidURI": 400,
    "KeyTooLongError": 400,
    "LoopDetected": 508,
    "MalformedACLError": 400,
    "MalformedPOSTRequest": 400,
    "MalformedTrailerError": 400,
    "MalformedXML": 400,
    "MaxMessageLengthExceeded": 400,
    "MaxPostPreDataLengthExceededError": 400,
    "MetadataTooLarge": 400,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "MissingSecurityHeader": 400,
    "NoSuchBucket": 404,
    "NoSuchBucketPolicy": 404,
    "NoSuchCORSConfiguration": 404,
    "NoSuchKey": 404,
    "NoSuchLifecycleConfiguration": 404,
    "NoSuchPublicAccessBlockConfiguration": 404,
    "NoSuchTagSet": 404,
    "NoSuchUpload": 404,
    "NoSuchVersion": 404,
    "NoSuchWebsiteConfiguration": 404,
    "NotImplemented": 501,
    "ObjectLockConfigurationNotFoundError": 404,
    "OwnershipControlsNotFoundError": 404,
    "PreconditionFailed": 412,
    "ReplicationConfigurationNotFoundError": 404,
    "RequestHeaderSectionTooLarge": 400,
    "RequestTimeout": 400,
    "RequestTimeTooSkewed": 403,
    "ServerSideEncryptionConfigurationNotFoundError": 404,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
    "UnexpectedContent": 400,
    "UserKeyMustBeSpecified": 400,
    "XAmzContentSHA256Mismatch": 400,
}


@dataclass(eq=False)  # not frozen: contextlib sets __traceback__ on what passes through it
class S3Error(Exception):
    """A refusal in S3's own terms.

    `code` is one of `STATUS_BY_CODE`; `message` is for the person who reads the client's output and says what to do where it
    can; `details` become further XML elements in the order given (`Resource`, `AWSAccessKeyId`, …) and must hold no secret and
    no expected signature; `headers` go out with the response (`Retry-After`, `Content-Range`, …).
    """

    code: str
    message: str
    details: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.code not in STATUS_BY_CODE:
            raise ValueError(f"unknown S3 error code {self.code!r}")

    @property
    def status(self) -> int:
        """The HTTP status that S3 gives this code."""
        return STATUS_BY_CODE[self.code]

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def error_xml(error: S3Error, *, resource: str, request_id: str) -> bytes:
    """The body of an error response; `resource` is the path as the client sent it, `request_id` equals `x-amz-request-id`."""
    elements = {"Code": error.code, "Message": error.message, **error.details}
    elements.setdefault("Resource", resource)
    elements["RequestId"] = request_id
    inner = "".join(f"<{name}>{escape(_xml_safe(value))}</{name}>" for name, value in elements.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode()


def _xml_safe(text: str) -> str:
    """XML 1.0 has no spelling for most control characters and lone surrogates (W3C XML 1.0, production Char)."""
    return "".join(
        char
        if char in "\t\n\r" or "\x20" <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char > "\uffff"
        else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )
