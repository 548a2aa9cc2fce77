"""The origin bucket's server as the tests see it: where it is and with which keys, whichever program plays it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config


@dataclass(frozen=True)
class Origin:
    endpoint: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str = "us-east-1"
    authority: Path | None = None  # what signed its certificate, for an https endpoint

    def s3(self) -> Any:
        """A boto3 client that talks to the origin directly, past the product."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name=self.region,
            verify=str(self.authority) if self.authority else None,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 2},
                # RGW 16.2 does not know trailing checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
