"""Whether what came from the origin is one whole version of an object: for background copies and for those that clients ask for."""

from __future__ import annotations

from addon.s3.checksums import BodyDigests
from addon.s3.metadata import OriginCopyHeaders
from addon.store.ports import OriginChanged
from addon.store.writer import Upload


def check_whole(about: OriginCopyHeaders, upload: Upload, digests: BodyDigests) -> None:
    """Length, the MD5 where the ETag is one (a multipart or KMS-encrypted object's ETag is not), and `told_checksums`, which
    `digests` must have been computed with. Call it when the upload is sealed. Raises `OriginChanged`."""
    if upload.size != about.size:
        raise OriginChanged(f"the origin announced {about.size} bytes and sent {upload.size}")
    if about.etag_is_md5 and digests.md5_hex() != about.etag:
        raise OriginChanged("the bytes do not have the origin's ETag")
    for algorithm in told_checksums(about):
        if digests.checksum(algorithm) != about.checksums[algorithm]:
            raise OriginChanged(f"the bytes do not have the origin's {algorithm.upper()}")


def is_proven(about: OriginCopyHeaders) -> bool:
    """Whether `check_whole` sees that all bytes are of one version. Of a multipart upload without a checksum of the whole object
    it sees the length only: somebody has to ask whether the version is the same at the end as at the beginning."""
    return about.etag_is_md5 or bool(told_checksums(about))


def told_checksums(about: OriginCopyHeaders) -> frozenset[str]:
    """Checksums of the whole object that the origin told: of multipart uploads they prove what the ETag does not."""
    if about.checksums.get("type") != "FULL_OBJECT":
        return frozenset()
    return frozenset(about.checksums) - {"type"}
