"""Whatever a file says, the answer is a tree or a list of problems, never an exception of ours."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisord_ng.config import raw
from supervisord_ng.config.kinds import Kind, SubTable
from supervisord_ng.config.loading import load_on
from supervisord_ng.errors import ConfigError
from tests.config.host import HOST, RELAXED


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """One directory for all examples; hypothesis would share a function's own."""
    with tempfile.TemporaryDirectory(prefix="sng-") as path:
        yield Path(path)


NAMES = st.sampled_from(["root", "a", "b", "c", "a b", "a@1", "\N{SNOWMAN}", "x" * 65])
WORDS = sorted(
    {
        word
        for struct in (*raw.SINGLE.values(), *raw.NAMED.values())
        for key in raw.keys_of(struct).values()
        if isinstance(key.kind, Kind)
        for word in key.kind.words
    }
)
SCALARS = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(["5s", "1m", "64K", "50%", "TERM", "a b", "", "'", "\0", "./f", "root", "022"]),
    st.text(max_size=4),
    st.booleans(),
    st.integers(),
    st.integers(-2, 300),
    st.floats(),
    NAMES,
)


def written(value: object) -> str:
    """A value in TOML's notation."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        pairs = (f"{written(key)} = {written(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    return repr(value)


def values(key: raw.Key) -> st.SearchStrategy[object]:
    """Mostly what fits a key in its outline, sometimes anything at all."""
    anything = st.one_of(SCALARS, st.lists(SCALARS, max_size=3))
    if isinstance(key.kind, SubTable):
        return st.one_of(tables(key.kind.struct), anything)
    return st.one_of(anything, st.dictionaries(st.text(max_size=3), SCALARS, max_size=2))


def tables(struct: type) -> st.SearchStrategy[dict[str, object]]:
    """A table with some of its keys, and now and then one that it does not have."""
    keys = {name: values(key) for name, key in raw.keys_of(struct).items()}
    known = st.fixed_dictionaries({}, optional=keys)
    unknown = st.dictionaries(st.sampled_from(["cmd", "zzz", "children"]), SCALARS, max_size=1)
    return st.builds(lambda one, other: {**other, **one}, known, unknown)


def trees() -> st.SearchStrategy[dict[str, object]]:
    """A whole file."""
    named = {
        scope: st.dictionaries(NAMES, tables(struct), max_size=3)
        for scope, struct in raw.NAMED.items()
    }
    single: dict[str, st.SearchStrategy[object]] = {
        scope: tables(struct) for scope, struct in raw.SINGLE.items()
    }
    defaults = st.fixed_dictionaries(
        {}, optional={scope: tables(raw.NAMED[scope]) for scope in raw.DEFAULTED}
    )
    return st.fixed_dictionaries(
        {},
        optional={
            **named,
            **single,
            "defaults": defaults,
            "include": st.lists(SCALARS, max_size=2),
        },
    )


@RELAXED
@given(trees())
def test_a_tree_or_problems(directory: Path, tree: dict[str, object]) -> None:
    """Every problem has the file's name, a message of one line, and, but for the file's own, a line."""
    text = "".join(f"{key} = {written(value)}\n" for key, value in tree.items())
    path = directory / "tree.toml"
    path.write_text(text, encoding="utf-8")
    try:
        load_on(HOST, path)
    except ConfigError as error:
        for problem in error.problems:
            assert (True, 1) == (problem.message != "", len(problem.message.splitlines()))
            assert "Traceback" not in problem.message
