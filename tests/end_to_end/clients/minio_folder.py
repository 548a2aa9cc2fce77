"""One operation of MinIO's Python library on all keys under a prefix: `python minio_folder.py '{"operation": …}'`."""

import json
import sys
from pathlib import Path

from minio import Minio
from minio.commonconfig import ComposeSource, CopySource
from minio.deleteobjects import DeleteObject

told = json.loads(sys.argv[1])
bucket, prefix = told["bucket"], told.get("prefix", "")
client = Minio(
    f"{told['host']}:{told['port']}",
    access_key=told["accessKey"],
    secret_key=told["secretKey"],
    secure=told["secure"],
    region=told["region"],
)


def keys() -> list[str]:
    return [entry.object_name for entry in client.list_objects(bucket, prefix=prefix, recursive=True)]


def delete(names: list[str]) -> None:
    errors = list(client.remove_objects(bucket, [DeleteObject(name) for name in names]))
    if errors:
        raise SystemExit(f"remove_objects: {[vars(error) for error in errors]}")


match told["operation"]:
    case "list":
        print(json.dumps([[e.object_name, e.size] for e in client.list_objects(bucket, prefix=prefix, recursive=True)]))
    case "download":
        for key in keys():
            client.fget_object(bucket, key, str(Path(told["folder"]) / key.removeprefix(prefix)))
    case "upload":
        folder = Path(told["folder"])
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = prefix + file.relative_to(folder).as_posix()
            client.fput_object(bucket, name, str(file), part_size=told["partBytes"])
    case "copy":
        for name in told["names"]:
            # What is larger than a part is put together from copied parts.
            if client.stat_object(bucket, prefix + name).size > told["partBytes"]:
                first = ComposeSource(bucket, prefix + name, offset=0, length=told["partBytes"])
                rest = ComposeSource(bucket, prefix + name, offset=told["partBytes"])
                client.compose_object(bucket, told["to"] + name, [first, rest])
            else:
                client.copy_object(bucket, told["to"] + name, CopySource(bucket, prefix + name))
    case "delete":
        delete([prefix + name for name in told["names"]])
    case "deleteAll":
        delete(keys())
