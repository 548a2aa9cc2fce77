"""@aws-sdk/client-s3 and lib-storage under Node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.end_to_end.lab.clients.programs import LAB, SCRIPTS, missing_node_package, run
from tests.end_to_end.lab.process import LabError
from tests.end_to_end.lab.target import Got, Refused, Target, object_headers


class AwsSdkJs:
    """@aws-sdk/client-s3 under Node. ``body`` is "buffer", "stream" (of a file) or "upload" (lib-storage)."""

    modules = LAB / "node" / "node_modules"

    def __init__(self, body: str) -> None:
        self.body = body
        self.name = f"aws-sdk-js-{body}"

    def why_not_here(self) -> str | None:
        return missing_node_package("@aws-sdk/client-s3")

    def put(self, target: Target, key: str, file: Path, content_type: str) -> None:
        self._run(
            target, {"operation": "put", "key": key, "file": str(file), "contentType": content_type, "body": self.body}
        )

    def get(self, target: Target, key: str, scratch: Path) -> Got:
        out = scratch / "aws-sdk-js.out"
        told = self._run(target, {"operation": "get", "key": key, "file": str(out)})
        return Got(out.read_bytes(), object_headers(told["headers"]))

    def head(self, target: Target, key: str) -> dict[str, str]:
        return object_headers(self._run(target, {"operation": "head", "key": key})["headers"])

    def delete(self, target: Target, key: str) -> None:
        self._run(target, {"operation": "delete", "key": key})

    def _run(self, target: Target, command: dict[str, Any]) -> dict[str, Any]:
        trusted = {"NODE_EXTRA_CA_CERTS": str(target.authority)} if target.authority else {}
        where = {"endpoint": target.endpoint, "bucket": target.bucket, "region": target.region}
        keys = {"AWS_ACCESS_KEY_ID": target.access_key_id, "AWS_SECRET_ACCESS_KEY": target.secret_access_key}
        done = run(
            ["node", SCRIPTS / "aws-sdk.mjs", json.dumps({**where, **command})],
            {**keys, **trusted, "LAB_NODE_MODULES": str(self.modules)},
        )
        if done.returncode != 0:
            raise LabError(f"aws-sdk.mjs {command['operation']}: status {done.returncode}\n{done.stderr[-3000:]}")
        answer: dict[str, Any] = json.loads(done.stdout)
        if "refused" in answer:
            raise Refused(answer["refused"], answer["detail"])
        return answer
