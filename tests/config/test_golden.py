"""Whole files against recorded text: `good` trees, `warned` ones, and the exact messages about `bad` ones.

With UPDATE_GOLDEN=1 the recorded text is written anew; read the difference before you commit it. Files stand
for themselves: they name no host, no user, no directory of the machine that runs the tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from supervisord_ng.config.loading import load_on
from supervisord_ng.errors import ConfigError
from tests.config.host import HOST

HERE = Path(__file__).parent
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"


def files(folder: str) -> list[str]:
    """The names of the trees in a folder, without those that they include."""
    return sorted(path.stem for path in (HERE / folder).glob("*.toml"))


def compare(recorded: Path, actual: str) -> None:
    """Compare with recorded text, or record it."""
    if UPDATE:
        recorded.write_text(actual, encoding="utf-8")
    assert recorded.read_text(encoding="utf-8") == actual


@pytest.mark.parametrize("name", files("bad"))
def test_every_problem_is_told_in_these_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong file is refused with every problem, in the order of the file, word for word."""
    monkeypatch.chdir(HERE / "bad")
    with pytest.raises(ConfigError) as caught:
        load_on(HOST, f"{name}.toml")
    compare(HERE / "bad" / f"{name}.txt", f"{caught.value}\n")


@pytest.mark.parametrize("name", files("warned"))
def test_every_warning_is_told_in_these_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What works, but hardly as meant, is accepted with these warnings and no others."""
    monkeypatch.chdir(HERE / "warned")
    warnings = load_on(HOST, f"{name}.toml").warnings
    compare(HERE / "warned" / f"{name}.txt", "".join(f"{warning}\n" for warning in warnings))


@pytest.mark.parametrize("name", files("good"))
def test_the_tree_is_this_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A right file means exactly this tree, without a warning."""
    monkeypatch.chdir(HERE / "good")
    loaded = load_on(HOST, f"{name}.toml")
    assert () == loaded.warnings
    encoded = msgspec.json.format(msgspec.json.encode(loaded.tree)).decode()
    compare(HERE / "good" / f"{name}.json", encoded.replace(str(HERE), "{here}") + "\n")
