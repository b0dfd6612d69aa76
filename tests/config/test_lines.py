"""The line locator: every key of a TOML document, and nothing else, has the line on which it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from supervisord_ng.config.lines import line_of, locate
from tests.config.host import RELAXED

EXAMPLE = """\
# [not.a.header]
top = 1
"quoted key" = 'a # b'   # comment with [brackets] and "quotes

[worker.web] # comment = 1
command = [ # "unclosed
    "a", "]", ']', # ]
    "key = 1",
]
text = \"\"\"
[worker.fake]
key = "1" \\
\"\"\"
raw = '''
fake = 1 \\''' # odd
ends = \"\"\"two quotes\"\"\"\"\"
log.file = "x"
log . "max bytes" = 1
heartbeat = { interval = "1s", deep = { deeper = [1, 2] } }
multi = {
    inner = 1,
    other = 2
}
date = 1979-05-27T07:32:00Z

  [ worker . "dotted.name" . 'x' ]
  indented = "\\"[no]\\" \\\\"
[[array]]
one = 1
[[array]]
one = 1
[worker]
late = true
"""


def line_with(text: str) -> int:
    """The number of the only line of the example that begins with this text."""
    (found,) = [
        number
        for number, line in enumerate(EXAMPLE.splitlines(), 1)
        if line.strip().startswith(text)
    ]
    return found


@pytest.mark.parametrize(
    ("path", "begin"),
    [
        (("top",), "top"),
        (("quoted key",), '"quoted'),
        (("worker", "web"), "[worker.web]"),
        (("worker", "web", "command"), "command"),
        (("worker", "web", "text"), "text"),
        (("worker", "web", "raw"), "raw"),
        (("worker", "web", "ends"), "ends"),
        (("worker", "web", "log", "file"), "log.file"),
        (("worker", "web", "log", "max bytes"), "log . "),
        (("worker", "web", "log"), "log.file"),
        (("worker", "web", "heartbeat", "deep", "deeper"), "heartbeat"),
        (("worker", "web", "multi", "other"), "multi"),
        (("worker", "web", "date"), "date"),
        (("worker", "dotted.name", "x"), "[ worker"),
        (("worker", "dotted.name", "x", "indented"), "indented"),
        (("worker", "dotted.name"), "[ worker"),
        (("worker",), "[worker]"),
        (("worker", "late"), "late"),
        (("worker", "web", "absent"), "[worker.web]"),
    ],
)
def test_key_has_its_line(path: tuple[str, ...], begin: str) -> None:
    """Strings, comments, brackets and dots confuse nobody; a key without a line has that of its table."""
    assert line_with(begin) == line_of(locate(EXAMPLE), path)


def test_nothing_else_has_a_line() -> None:
    """What only looks like a key, in a string or a comment, has no line, nor has the document itself."""
    lines = locate(EXAMPLE)
    looks = [("not",), ("worker", "fake"), ("worker", "web", "fake"), ("worker", "web", "key")]
    assert [None] * 4 == [lines.get(path) for path in looks]
    assert None is line_of(lines, ())
    assert None is line_of(lines, ("absent",))


def test_line_ends_of_windows_count_once() -> None:
    """A file written under Windows has the same lines."""
    assert 3 == line_of(locate('a = 1\r\n\r\nb = """\r\n"""\r\n'), ("b",))


KEYS = st.text(alphabet="ab-\"'. #[]=\\\té\n", min_size=1, max_size=4)
BLANK = st.sampled_from(["", "\n", "# x = [\n", "\n# '''\n", "  \n"])
STRINGS = st.text(alphabet="a\"'\\\n#[]{}=, ", max_size=12)


def basic(text: str) -> str:
    """A basic string."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def literal(text: str) -> str:
    """A literal string where the text permits one."""
    return f"'{text}'" if "'" not in text and "\n" not in text else basic(text)


def multi_line(text: str) -> str:
    """A multi-line basic string with as many quotes left alone as TOML permits."""
    text = text.replace("\\", "\\\\").replace('"""', '""\\"')
    while text.endswith('"""'):
        text = text[:-1] + '\\"'
    return f'"""\n{text}"""'


def multi_literal(text: str) -> str:
    """A multi-line literal string where the text permits one."""
    return f"'''{text}'''" if "'''" not in text else basic(text)


def array(items: list[str]) -> str:
    """An array over several lines, with a comment on each."""
    return "[" + "".join(f"{item}, # ]\n" for item in items) + "]"


def inline_table(items: dict[str, str]) -> str:
    """A table in a value."""
    return "{" + ", ".join(f"{key} = {value}" for key, value in items.items()) + "}"


SCALARS = st.one_of(
    st.builds(
        lambda text, form: form(text),
        STRINGS,
        st.sampled_from([basic, literal, multi_line, multi_literal]),
    ),
    st.sampled_from(["1", "true", "-1.5e3", "1979-05-27T07:32:00Z", "[]", "{}"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(array),
        st.dictionaries(st.sampled_from("xyz"), inner, max_size=2).map(inline_table),
    ),
    max_leaves=4,
)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[tuple[str, ...], int]]:
    """A TOML document with the line of each of its tables and keys."""
    text = ""
    lines: dict[tuple[str, ...], int] = {}
    for table in draw(st.lists(KEYS, max_size=3, unique=True)):
        text += draw(BLANK)
        lines[table,] = text.count("\n") + 1
        text += f"[{draw(st.sampled_from(['', ' ']))}{basic(table)}]\n"
        for key in draw(st.lists(KEYS, max_size=3, unique=True)):
            text += draw(BLANK)
            dotted = draw(st.sampled_from([(), ("in",)]))
            path = (table, f"k{key}", *dotted)
            lines[path] = text.count("\n") + 1
            name = "".join(f".{basic(part)}" for part in path[1:])[1:]
            text += f"{name} = {draw(VALUES)}{draw(st.sampled_from(['', ' # {']))}\n"
    return text, lines


@RELAXED
@given(documents())
def test_any_document(document: tuple[str, dict[tuple[str, ...], int]]) -> None:
    """Whatever keys are called and values hold, keys are found on the lines where they were put."""
    text, expected = document
    actual = locate(text)
    assert expected == {path: actual[path] for path in expected}
    assert set(actual) <= set(paths(tomli.loads(text)))


def paths(table: Mapping[str, object], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every path of a parsed document."""
    for name, value in table.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from paths(value, (*above, name))
