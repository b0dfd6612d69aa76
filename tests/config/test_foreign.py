"""Other process managers' configurations as trees: what is carried over, and what is said of the rest.

The golden files beside them are what a user sees; UPDATE_GOLDEN=1 writes them anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from supervisord_ng.config.foreign import convert
from supervisord_ng.config.foreign.draft import value
from supervisord_ng.errors import SupervisordNGError
from tests.cli.canned import sng

FOREIGN = Path(__file__).parent / "foreign"
FILES = ("supervisord.conf", "circus.ini", "Procfile")


@pytest.mark.parametrize("name", FILES)
def test_what_a_user_sees(name: str) -> None:
    """The tree, and every line that is not in it with the reason."""
    golden = FOREIGN / f"{name}.toml"
    result = sng("import", str(FOREIGN / name))
    assert 0 == result.exit_code
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(result.stdout)
    assert golden.read_text() == result.stdout
    said = [line.partition(": not carried over: ")[2] for line in result.stderr.splitlines()]
    listed = [line.removeprefix("#   ") for line in golden.read_text().splitlines()]
    assert said == [line for line in listed if line.startswith("line ")]


@pytest.mark.parametrize("name", FILES)
def test_the_tree_is_right(name: str, tmp_path: Path) -> None:
    """``sng check`` has nothing to say against it."""
    tree = tmp_path / "tree.toml"
    tree.write_text(convert(name, (FOREIGN / name).read_text()).toml())
    result = sng("check", str(tree))
    assert (0, "") == (result.exit_code, result.stderr), result.output


@pytest.mark.parametrize("name", FILES)
def test_no_line_is_dropped_in_silence(name: str) -> None:
    """Each key of a file that is not carried over stands in the list, and each only once."""
    draft = convert(name, (FOREIGN / name).read_text())
    assert len(set(draft.problems)) == len(draft.problems)
    assert {problem.line for problem in draft.problems} <= set(
        range(1, len((FOREIGN / name).read_text().splitlines()) + 1)
    )


def test_for_programs_the_same_as_json() -> None:
    """`--json`: the text, and each problem with its line."""
    answer = json.loads(sng("import", str(FOREIGN / "Procfile"), "--json").stdout)
    assert (FOREIGN / "Procfile.toml").read_text() == answer["toml"]
    assert {"line": 5, "what": "two words: cat", "why": "this is no `name: command`"} in answer[
        "problems"
    ]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("x.ini", "[uwsgi]\na = 1\n", "neither supervisord's nor circus' sections"),
        ("x.conf", "key = 1\n", "line 1 is no key"),
        ("x.conf", "[program:a]\nrubbish\n", "line 2 is no key"),
        ("x.conf", "[supervisord]\n", "nothing to run is in it"),
        ("Procfile", "", "nothing to run is in it"),
    ],
)
def test_what_is_no_such_file_is_refused(name: str, text: str, why: str) -> None:
    """In words, with the line."""
    with pytest.raises(SupervisordNGError, match=why):
        convert(name, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Exit status 1."""
    result = sng("import", str(tmp_path / "no"))
    assert (1, f"sng: cannot read {tmp_path}/no: no such file or directory\n") == (
        result.exit_code,
        result.stderr,
    )


def test_strings_are_escaped_as_toml_wants_it() -> None:
    """Quotes, backslashes, control characters and DEL; other letters stay."""
    assert r'"a\"b\\c\n\u007fé"' == value('a"b\\c\n\x7fé')
