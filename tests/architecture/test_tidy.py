"""What ruff and import-linter cannot see: lengths, names without import, words that must go."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
BANNED_IN_CORE = {"breakpoint", "eval", "exec", "input", "open", "print"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
OF_ONE_MACHINE = re.compile(r"/work/\w|/root/\.|/opt/pypi")

PROGRAMS = [
    path
    for folder in ("supervisord_ng", "tests", "examples")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
TEXTS = [
    path
    for pattern in (
        "*.md",
        "*.toml",
        "Makefile",
        ".ci/*",
        "docs/**/*.md",
        "examples/**/*.[mt]*",
        "configs/*",
        "systemd/**/*.service",
        "systemd/*.d/*",
    )
    for path in sorted(ROOT.glob(pattern))
]


def name(path: Path) -> str:
    """The name of a file in a test's id."""
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, methods and inner ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def is_set(node: ast.expr) -> bool:
    """Say whether an expression is plainly a set."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in {"set", "frozenset"}
    return isinstance(node, ast.Set | ast.SetComp)


@pytest.mark.parametrize("path", PROGRAMS, ids=name)
def test_files_and_functions_are_short(path: Path) -> None:
    """A file is read in one sitting, a function on one screen."""
    text = path.read_text(encoding="utf-8")

    too_long = [
        f"{function.name}: {length} lines"
        for function in functions(ast.parse(text))
        if (length := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
    ]

    lines = len(text.splitlines())
    assert ([], True) == (too_long, lines <= FILE_LINES_MAX), f"{lines} lines"


@pytest.mark.parametrize("path", sorted((ROOT / "supervisord_ng/core").rglob("*.py")), ids=name)
def test_core_has_no_io_and_no_chance_order(path: Path) -> None:
    """`open` and `print` need no import, and the order of a set differs between two runs."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name) and node.id in BANNED_IN_CORE:
            found.append(f"line {node.lineno}: {node.id}")
        if isinstance(node, ast.For | ast.comprehension) and is_set(node.iter):
            found.append(f"line {node.iter.lineno}: iterates over a set")

    assert [] == found


@pytest.mark.parametrize("path", PROGRAMS + TEXTS, ids=name)
def test_nothing_is_unfinished_or_of_one_machine(path: Path) -> None:
    """What is left to do stands in no file, and no file names a place on somebody's own machine."""
    if path == Path(__file__):
        return  # the words stand here
    text = path.read_text(encoding="utf-8")

    unfinished = [match.group() for match in UNFINISHED.finditer(text)]
    private = [match.group() for match in OF_ONE_MACHINE.finditer(text)]

    assert ([], []) == (unfinished, private)
