"""The machine dies and its disk with it: another one has the settings, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.end_to_end.lab.clients import s3_client
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.tgstore import PROJECT, Bucket, Tgstore

pytestmark = [pytest.mark.end_to_end]

LIMIT_S = 120.0


def test_a_machine_that_is_lost_is_replaced(
    launch: Callable[..., Any], moto: Origin, new_bucket: Callable[[Origin], str]
) -> None:
    standin = launch(Standin, "--rate-limits", "off")
    bucket = Bucket(new_bucket(moto), moto)
    product: Tgstore = launch(Tgstore, standin, [bucket])
    text = product.config.read_text()
    product.config.write_text(text.replace("[telegram]", "[telegram]\nchannel_messages_per_min_max = 60000", 1))
    product.stop()
    product.start()
    s3 = s3_client(product.target())
    bodies = {f"key-{number}": bytes([number]) * (1000 * number + 1) for number in range(20)}
    for key, body in bodies.items():
        s3.put_object(Bucket=bucket.name, Key=key, Body=body, Metadata={"number": key}, ContentType="image/png")
    before = listing(s3, bucket.name)

    product.kill()
    shutil.rmtree(product.index_file.parent)
    done = tgstore(product, "recover")
    assert done.returncode == 0, done.stderr
    assert "20 objects" in done.stdout
    product.start()

    assert listing(s3, bucket.name) == before
    for key, body in bodies.items():
        found = s3.get_object(Bucket=bucket.name, Key=key)
        assert found["Body"].read() == body
        assert (found["Metadata"], found["ContentType"]) == ({"number": key}, "image/png")


def listing(s3: Any, bucket: str) -> list[tuple[str, str, int, Any]]:
    found = s3.list_objects_v2(Bucket=bucket)["Contents"]
    return [(one["Key"], one["ETag"], one["Size"], one["LastModified"]) for one in found]


def tgstore(product: Tgstore, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "addon.cli", *arguments, "--config", str(product.config)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "200"}
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, cwd=product.folder, env=environment, timeout=LIMIT_S
    )
