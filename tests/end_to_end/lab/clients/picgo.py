"""PicGo, an uploader of pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.end_to_end.lab.clients.programs import LAB, missing_node_package, node_package_version, run
from tests.end_to_end.lab.target import Refused, Target


class PicGo:
    """PicGo with picgo-plugin-s3, headless. It only uploads, names the object itself, and prints the public URL."""

    name = "picgo"
    folder = LAB / "node"

    def why_not_here(self) -> str | None:
        return missing_node_package("picgo-plugin-s3")

    def version(self) -> str:
        return f"{node_package_version('picgo')} with plugin {node_package_version('picgo-plugin-s3')}"

    def upload(self, target: Target, file: Path, scratch: Path) -> str:
        """Upload a picture as a user drops it, and return the URL that PicGo puts into the clipboard."""
        home = scratch / "picgo"
        home.mkdir(exist_ok=True)
        for name in ("package.json", "node_modules"):
            if not (home / name).exists():
                (home / name).symlink_to(self.folder / name)
        uploader = {
            "accessKeyID": target.access_key_id,
            "secretAccessKey": target.secret_access_key,
            "bucketName": target.bucket,
            "uploadPath": "{year}/{month}/{md5}.{extName}",
            "endpoint": target.endpoint,
            "pathStyleAccess": True,
            # PicGo's settings dialogue fills this in; a settings file must say it.
            "acl": "public-read",
        }
        settings = {
            "picBed": {"uploader": "aws-s3", "current": "aws-s3", "aws-s3": uploader},
            "picgoPlugins": {"picgo-plugin-s3": True},
        }
        (home / "config.json").write_text(json.dumps(settings))
        trusted = {"NODE_EXTRA_CA_CERTS": str(target.authority)} if target.authority else {}
        done = run(
            [self.folder / "node_modules" / ".bin" / "picgo", "-c", home / "config.json", "upload", file],
            {**trusted, "HOME": str(home)},
        )
        urls = re.findall(r"^https?://\S+$", done.stdout, re.MULTILINE)
        if done.returncode != 0 or not urls:
            raise Refused(0, f"picgo: status {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
        return urls[-1]
