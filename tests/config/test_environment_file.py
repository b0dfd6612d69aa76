"""The syntax of environment files, by the cases of systemd.exec(5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisord_ng.config.environment_file import Line, parse_lines
from tests.config.host import RELAXED

VALUES = [
    ("A=1", "1"),
    ("A=", ""),
    ("A", None),
    ("A=1 2  3", "1 2  3"),
    ("  A  =  1  ", "1"),
    ("A=a=b=c", "a=b=c"),
    ("A=1 # no comment", "1 # no comment"),
    ("A='single $x \\n \"'", 'single $x \\n "'),
    ('A="double $x"', "double $x"),
    (r'A="\" \\ \` \$"', '" \\ ` $'),
    (r'A="\n \x"', r"\n \x"),
    ('A="two\nlines"', "two\nlines"),
    ("A='two\nlines'", "two\nlines"),
    ('A="joined\\\nlines"', "joinedlines"),
    ("A=joined\\\nlines", "joinedlines"),
    ("A=joined \\\n  lines", "joined   lines"),
    (r"A=a\ b", "a b"),
    ("A=a\\ ", "a "),
    (r"A=\"x\"", '"x"'),
    (r"A=c:\\dir", "c:\\dir"),
    ("A='one'\"two\"", "onetwo"),
    ("A='one' 'two'", "onetwo"),
    ("A='one' two ", "onetwo"),
    ("A=in'the'middle", "in'the'middle"),
    ("A='not closed", "not closed"),
    ('A="not closed', "not closed"),
    ('A="not closed\\', "not closed"),
    ("A=end\\", "end"),
    ("A=ünïcode", "ünïcode"),
    ("A=$B ${B} `c`", "$B ${B} `c`"),
]


@pytest.mark.parametrize(("text", "expected"), VALUES)
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n# end"])
def test_value(text: str, expected: str | None, end: str) -> None:
    """One assignment has this value, wherever the file ends; without '=' there is none."""
    if not end and text.endswith("\\"):
        pass  # the last character of the file
    elif text.endswith("\\"):
        return  # would be continued
    lines = list(parse_lines(text + end))
    if expected is None:
        assert [Line(1, None)] == lines
    elif "not closed" in text:
        assert ("A", True) == (lines[0].name, lines[0].value.startswith(expected))
    else:
        assert [Line(1, "A", expected)] == lines


def test_lines_that_are_nothing() -> None:
    """Blank lines and comments of both kinds are skipped, and counted."""
    text = "\n# A=1\n; B=2 \\\nC=3\n   # D=4\n\t\nE=5"
    assert [Line(4, "C", "3"), Line(7, "E", "5")] == list(parse_lines(text))


def test_line_numbers_behind_values_of_several_lines() -> None:
    """An assignment has the number of its first line."""
    text = "A='\n\n'\nB=1\\\n2\nC\nD=4\n"
    expected = [Line(1, "A", "\n\n"), Line(4, "B", "12"), Line(6, None), Line(7, "D", "4")]
    assert expected == list(parse_lines(text))


@RELAXED
@given(st.text(alphabet="A=\"'\\ \n#;x\r", max_size=30))
def test_any_text_comes_to_an_end(text: str) -> None:
    """Whatever a file holds, reading it ends, and line numbers only grow."""
    numbers = [line.number for line in parse_lines(text)]
    assert sorted(set(numbers)) == numbers


@RELAXED
@given(st.dictionaries(st.from_regex("[A-Z_]{1,5}", fullmatch=True), st.text(max_size=20)))
def test_single_quotes_take_everything(variables: dict[str, str]) -> None:
    """What stands in single quotes is taken as it is, but for the quotes and the line ends of Windows."""
    plain = {name: value.replace("'", "").replace("\r", "") for name, value in variables.items()}
    text = "".join(f"{name}='{value}'\n" for name, value in plain.items())
    assert plain == {line.name: line.value for line in parse_lines(text)}
