"""`docs/s3-compatibility.md` and the code say the same: every operation, every header that the code knows, and tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from addon.s3.operations import HANDLING, Handling, Operation

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "s3-compatibility.md"
VERDICT = {Handling.NATIVE: "supported", Handling.FORWARD: "forwarded", Handling.REFUSE: "refused"}
VERDICTS = {*VERDICT.values(), "ignored"}
HEADER = re.compile(r"x-amz-[a-z0-9-]+|if-(?:none-)?match|if-(?:un)?modified-since|if-range|content-md5|range|expect")
# Ours to give or the origin's to say: they stand in answers only, or in requests that we make.
NOT_ASKED_OF_US = frozenset({"x-amz-"})


@dataclass(frozen=True)
class Row:
    """One row of a table: what, its verdict, the tests that show it."""

    what: str
    verdict: str
    tests: tuple[str, ...]


def rows(section: str) -> Iterator[Row]:
    text = PAGE.read_text()
    body = text[text.index(f"\n## {section}\n") :].split("\n## ", 2)[1]
    for line in body.splitlines():
        if not line.startswith("| ") or line.startswith(("| ---", "|---")):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        assert len(cells) == 4, line
        if cells[1].strip() in VERDICTS:
            yield Row(cells[0].strip("` "), cells[1], tuple(re.findall(r"`([\w/]+\.py::\w+)`", cells[3])))


def all_rows() -> list[Row]:
    return [
        row for section in ("Operations", "Headers and parameters", "Forms of authentication") for row in rows(section)
    ]


def test_every_operation_stands_in_the_table_as_the_code_handles_it() -> None:
    documented = {row.what: row.verdict for row in rows("Operations")}
    assert documented == {
        operation.value: VERDICT[handling]
        for operation, handling in HANDLING.items()
        if operation is not Operation.UNKNOWN
    }


def test_every_row_names_tests_that_exist() -> None:
    known: dict[str, set[str]] = {}
    for row in all_rows():
        assert row.tests, f"{row.what}: no test is named"
        for test in row.tests:
            file, _, name = test.partition("::")
            path = ROOT / "tests" / file
            if file not in known:
                tree = ast.parse(path.read_text())
                known[file] = {
                    node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                }
            assert name in known[file], f"{row.what}: {test} does not exist"


def test_every_header_that_the_code_reads_stands_in_the_table() -> None:
    documented = {row.what for row in rows("Headers and parameters")}
    prefixes = tuple(name.removesuffix("*") for name in documented if name.endswith("*"))
    read = set()
    for folder in ("s3", "service", "proxy"):
        for path in (ROOT / "addon" / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and HEADER.fullmatch(node.value):
                    read.add(node.value)
    missing = {name for name in read - NOT_ASKED_OF_US if name not in documented and not name.startswith(prefixes)}
    assert not missing
