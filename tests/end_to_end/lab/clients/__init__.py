"""Drivers of real S3 clients, each in the form in which its users run it; one module a family.

``protocols`` says what the tests ask of them. Each driver has ``why_not_here()``: the reason why it cannot run on this
machine, with which its tests are skipped.
"""

from tests.end_to_end.lab.clients.aws_cli import AwsCli, AwsCliFolder
from tests.end_to_end.lab.clients.aws_sdk_js import AwsSdkJs
from tests.end_to_end.lab.clients.boto import Boto3, Boto3Transfer, s3_client
from tests.end_to_end.lab.clients.chromium import Chromium, page_server
from tests.end_to_end.lab.clients.curl import Curl, CurlFolder
from tests.end_to_end.lab.clients.mounts import MountClient, RcloneMount, S3fs, mounted
from tests.end_to_end.lab.clients.picgo import PicGo
from tests.end_to_end.lab.clients.protocols import Client, FolderClient, SyncClient
from tests.end_to_end.lab.clients.rclone import Rclone
from tests.end_to_end.lab.clients.restic import Restic
from tests.end_to_end.lab.clients.s3cmd import S3cmd
from tests.end_to_end.lab.clients.s5cmd import S5cmd
from tests.end_to_end.lab.clients.scripted import MinioPython, NodeFolder

__all__ = [
    "AwsCli",
    "AwsCliFolder",
    "AwsSdkJs",
    "Boto3",
    "Boto3Transfer",
    "Chromium",
    "Client",
    "Curl",
    "CurlFolder",
    "FolderClient",
    "MinioPython",
    "MountClient",
    "NodeFolder",
    "PicGo",
    "Rclone",
    "RcloneMount",
    "Restic",
    "S3cmd",
    "S3fs",
    "S5cmd",
    "SyncClient",
    "folder_clients",
    "mount_clients",
    "mounted",
    "page_server",
    "s3_client",
    "signing_clients",
    "sync_clients",
]


def signing_clients() -> list[Client]:
    """The clients that do all four operations on single objects."""
    return [Boto3(), AwsCli(), AwsSdkJs("buffer"), AwsSdkJs("stream"), AwsSdkJs("upload"), Curl()]


def folder_clients() -> list[tuple[FolderClient, str]]:
    """The clients that work on whole prefixes, each with the scheme over which it is driven."""
    return [
        (Boto3Transfer(), "http"),
        (Boto3Transfer(), "https"),
        (AwsCliFolder(1), "http"),
        (AwsCliFolder(2), "https"),
        (NodeFolder("aws-sdk-js", "@aws-sdk/client-s3", "aws-sdk-folder.mjs"), "https"),
        (NodeFolder("minio-js", "minio", "minio-folder.mjs"), "https"),
        (MinioPython(), "https"),
        (Rclone("Other"), "http"),
        (Rclone("Minio"), "https"),
        (S3cmd(), "http"),
        (S5cmd(), "https"),
        (CurlFolder(), "http"),
    ]


def sync_clients() -> list[tuple[SyncClient, str]]:
    return [
        (AwsCliFolder(1), "https"),
        (AwsCliFolder(2), "http"),
        (Rclone("Minio"), "https"),
        (S3cmd(), "https"),
        (S5cmd(), "http"),
    ]


def mount_clients() -> list[tuple[MountClient, str]]:
    return [(S3fs(), "http"), (RcloneMount(), "https")]
