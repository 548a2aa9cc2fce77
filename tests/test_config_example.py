"""config.example.toml is held to the code: every key is there, none is unknown, each default is the code's, and it loads."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from addon.config import (
    Bucket,
    Cache,
    Copies,
    Cors,
    Credential,
    Encryption,
    Index,
    Multipart,
    Origin,
    Service,
    Store,
    Telegram,
    load_config,
)
from addon.config.models import Config

EXAMPLE = Path(__file__).parents[1] / "config.example.toml"
SECRET_NAMES = {"IMAGES_SECRET_ACCESS_KEY": "a-secret", "TGSTORE_ENCRYPTION_KEY": "00" * 32}
COMMENTED_OUT = re.compile(r"^#(?=[a-z_]+ = )", re.MULTILINE)
# A table that has no default: to have one means something.
ONLY_AN_EXAMPLE = re.compile(r"^# (?=\[|[a-z_]+ = )", re.MULTILINE)
OPTIONAL_TABLES = {"cors": "buckets", "encryption": ""}
MODELS: dict[str, type[BaseModel]] = {
    "telegram": Telegram,
    "store": Store,
    "encryption": Encryption,
    "index": Index,
    "cache": Cache,
    "service": Service,
    "copies": Copies,
    "multipart": Multipart,
    "buckets": Bucket,
    "origin": Origin,
    "cors": Cors,
    "credentials": Credential,
}


def with_secrets(folder: Path, text: str) -> Path:
    (folder / "secrets").mkdir()
    (folder / "secrets" / "origin_secret_access_key").write_text("another-secret\n")
    (folder / "secrets" / "former_encryption_key").write_text("E" * 42 + "A=\n")
    path = folder / "config.toml"
    path.write_text(text)
    return path


def tables(name: str, content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each table with its name, once."""
    yield name, content
    for key, value in content.items():
        for table in value if isinstance(value, list) else [value]:
            if isinstance(table, dict):
                yield from tables(key, table)


def everything() -> dict[str, dict[str, Any]]:
    """All tables of the example, with what is commented out."""
    return dict(tables("", tomllib.loads(ONLY_AN_EXAMPLE.sub("", COMMENTED_OUT.sub("", EXAMPLE.read_text())))))


@pytest.mark.parametrize("commented_out", [True, False])
def test_it_loads_as_it_stands_and_with_everything_that_is_commented_out(tmp_path: Path, commented_out: bool) -> None:
    text = EXAMPLE.read_text()
    path = with_secrets(tmp_path, text if commented_out else COMMENTED_OUT.sub("", text))
    config = load_config(path, SECRET_NAMES)
    assert config.buckets[0].name == "images"


def test_the_tables_that_are_only_examples_load(tmp_path: Path) -> None:
    path = with_secrets(tmp_path, ONLY_AN_EXAMPLE.sub("", EXAMPLE.read_text()))
    config = load_config(path, SECRET_NAMES)
    key, (former,) = config.sealing_keys
    assert key == bytes(32) != former
    rules = config.buckets[0].cors
    assert rules is not None
    assert rules[0].allowed_origins == ("https://www.example.com", "https://*.example.net")
    assert rules[0].max_age_s == 3000


def test_what_is_commented_out_is_what_holds_without_it(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    assert COMMENTED_OUT.search(text)
    path = with_secrets(tmp_path, text)
    without = load_config(path, SECRET_NAMES)
    path.write_text(COMMENTED_OUT.sub("", text))
    assert load_config(path, SECRET_NAMES) == without


def test_exactly_the_keys_with_a_default_that_is_stated_are_commented_out() -> None:
    shown = dict(tables("", tomllib.loads(EXAMPLE.read_text())))
    for name, model in MODELS.items():
        for key, field in model.model_fields.items():
            if name in OPTIONAL_TABLES or OPTIONAL_TABLES.get(key) == name:
                continue
            has_default = field.default is not PydanticUndefined and field.default not in (None, ())
            assert (key not in shown.get(name, {})) == has_default, f"{name}.{key}"


def test_every_table_and_key_of_the_code_is_there_and_no_other() -> None:
    found = everything()
    assert set(found) == {"", *MODELS}
    assert set(found.pop("")) == set(Config.model_fields)
    for name, table in found.items():
        assert set(table) == set(MODELS[name].model_fields), name


def test_the_models_are_all_on_the_list() -> None:
    def models_in(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
        for field in model.model_fields.values():
            for inner in re.findall(r"addon\.config\.models\.([A-Za-z]+)", repr(field.annotation)):
                found = next(one for one in MODELS.values() if one.__name__ == inner)
                yield found
                yield from models_in(found)

    assert set(models_in(Config)) == set(MODELS.values())
