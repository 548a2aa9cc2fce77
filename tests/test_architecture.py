"""The layout is the architecture: who may import whom, read from the sources."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ADDON = ROOT / "addon"

# What each part of addon/ may import of addon/, itself excepted. Parts that stand nowhere here do not exist.
MAY_IMPORT: dict[str, set[str]] = {
    "s3": set(),
    "sigv4": {"s3"},
    "store": {"s3", "sigv4"},
    "service": {"store", "s3", "sigv4"},
    "proxy": {"service", "store", "s3", "sigv4", "config"},
    "telegram": {"store", "s3"},
    "origin": {"store", "s3"},
    "index": {"store", "s3"},
    "config": {"s3"},
    "standin": set(),
    "storage": {"store", "telegram", "origin", "index", "config", "checks"},
    "composition": {"storage", "proxy", "service", "store", "s3", "config", "checks", "commands"},
    "commands": {"storage", "store", "s3", "telegram", "origin", "index", "config"},
    "checks": {"store", "s3", "telegram", "origin", "index", "config"},
    "tgstore": {"composition", "proxy"},
    "cli": {"commands", "checks", "store", "standin"},
}

# The one place, or the few, that may import a library.
ONLY_IN: dict[str, set[str]] = {
    "mitmproxy": {"proxy", "tgstore"},
    "httpx": {"telegram", "origin"},
    "httpcore": {"origin", "telegram"},
    "sqlalchemy": {"index"},
    "alembic": {"index"},
    "botocore": {"origin"},
    "boto3": set(),
    "uvicorn": {"service"},
    "typer": {"cli", "commands"},
    "rich": {"cli", "commands"},
    "pydantic": {"config"},
    "cryptography": {"store"},
}

# Pure parts: no I/O and no clock.
PURE = {"s3", "sigv4"}
IMPURE_MODULES = {
    "asyncio",
    "socket",
    "subprocess",
    "threading",
    "os",
    "pathlib",
    "tempfile",
    "random",
    "secrets",
    "ssl",
}

CLOCKS = {
    *(("time", name) for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "localtime")),
    *(("datetime", name) for name in ("now", "utcnow", "today")),
    ("date", "today"),
}

FILES = sorted(ADDON.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(ADDON).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports fail in a file that mitmdump loads by path"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ADDON)))
def test_imports_go_down_only(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        assert not list(imports_of(path))
        return
    for name in imports_of(path):
        top, _, rest = name.partition(".")
        assert top not in {child.stem for child in ADDON.iterdir()} or top in sys.stdlib_module_names, (
            f"{path} imports {name}: the one spelling is addon.{name}"
        )
        if top == "addon" and rest:
            other = rest.split(".")[0]
            assert other == part or other in MAY_IMPORT[part], f"{part} may not import addon.{other}"
        if top in ONLY_IN:
            assert part in ONLY_IN[top], f"{part} may not import {top}"
        if part in PURE:
            assert top not in IMPURE_MODULES, f"{part} is pure and may not import {top}"


@pytest.mark.parametrize("path", [path for path in FILES if part_of(path) in PURE], ids=lambda path: path.name)
def test_pure_parts_read_no_clock(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in CLOCKS


def test_every_part_is_on_the_map() -> None:
    assert {part_of(path) for path in FILES} - {"__init__"} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ADDON)))
def test_no_file_shadows_the_standard_library_in_the_folder_that_mitmdump_puts_on_the_path(path: Path) -> None:
    if path.parent == ADDON:
        assert path.stem not in sys.stdlib_module_names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ADDON)))
def test_functions_fit_on_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 70, f"{node.name} is longer than a screen"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ADDON)))
def test_files_have_one_subject(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 450
