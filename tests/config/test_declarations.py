"""What `config.raw` declares, against everything that is made from it or speaks of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisord_ng import config
from supervisord_ng.config import hints, raw
from supervisord_ng.config.kinds import Kind, OpenTable, SubTable
from supervisord_ng.config.loading import load_on
from supervisord_ng.errors import ConfigError
from tests.config.host import HOST

TABLES = {**raw.SINGLE, **raw.NAMED}


def keys(scope: str, struct: type) -> Iterator[tuple[str, raw.Key]]:
    """Every key below a table with its place in the schema, tables inside included."""
    for name, key in raw.keys_of(struct).items():
        yield f"{scope}.{name}", key
        if isinstance(key.kind, SubTable):
            yield from keys(f"{scope}.{name}", key.kind.struct)


KEYS = dict(pair for scope, struct in TABLES.items() for pair in keys(scope, struct))


@pytest.mark.parametrize(
    "scope", [scope for scope, key in KEYS.items() if isinstance(key.kind, Kind)]
)
def test_default_is_what_a_file_could_say(scope: str) -> None:
    """A default, written as in a file, is read as that very default."""
    key = KEYS[scope]
    assert isinstance(key.kind, Kind)
    if not key.required and key.default is not None:
        written = key.kind.write(key.default)
        assert key.default == key.kind.parse(
            list(written) if isinstance(written, tuple) else written
        )


def scopes() -> dict[str, set[str]]:
    """The legal keys of every table, by its place in the schema."""
    legal: dict[str, set[str]] = {"": set(raw.TOP_LEVEL)}
    for scope in KEYS:
        table, _, name = scope.rpartition(".")
        legal.setdefault(table, set()).add(name)
    return legal


def foreign() -> list[tuple[str, str, str]]:
    """Every foreign word: its table, itself, the hint."""
    return [
        (scope, word, hint)
        for scope, table in hints._FOREIGN.items()
        for word, hint in table.items()
    ]


def test_foreign_words_are_foreign() -> None:
    """No hint explains away a key that we have, and each word is explained once."""
    legal = scopes()
    ours = [(scope, word) for scope, word, _ in foreign() if word in legal[scope]]
    assert [] == ours


def test_hints_suggest_what_there_is() -> None:
    """Whatever a hint suggests as a key is a key of that table, or of the one that it names."""
    legal = scopes()
    everywhere = set().union(*legal.values())
    wrong = []
    for scope, word, hint in foreign():
        suggested = re.findall(r'did you mean "([\w.]+)"', hint)
        suggested += re.findall(r"did you mean (\w+)[ ,?]", hint)
        home = everywhere if "a key of" in hint or scope == "" else legal[scope]
        wrong += [(scope, word, one) for one in suggested if one not in home]
    assert [] == wrong


def test_every_key_is_refused_by_its_foreign_word() -> None:
    """Words of supervisord, systemd, circus and OTP lead to ours, in any spelling of case and dashes."""
    expected = {
        "autorestart": "restart =",
        "numprocs": '"instances"',
        "numprocesses": '"instances"',
        "replicas": '"instances"',
        "cmd": '"command"',
        "ExecStart": '"command"',
        "env": '"environment"',
        "cwd": '"directory"',
        "working_dir": '"directory"',
        "WorkingDirectory": '"directory"',
        "stopsignal": '"stop_signal"',
        "KillSignal": '"stop_signal"',
        "max_restarts": "intensity",
        "WatchdogSec": "heartbeat",
        "TimeoutStopSec": "shutdown",
        "graceful-timeout": "shutdown",
        "Restart": '"restart"',
        "exitcodes": '"success_exit_codes"',
        "LimitNOFILE": "limits",
        "EnvironmentFile": '"environment_file"',
    }
    legal = raw.keys_of(raw.Worker)
    actual = {word: hints.unknown_key("worker", word, legal) for word in expected}
    assert {} == {word: text for word, text in actual.items() if expected[word] not in text}


def test_schema_describes_every_key() -> None:
    """The JSON Schema has every table and key, is plain JSON, and refuses unknown keys as `load` does."""
    schema = config.schema()
    assert schema == json.loads(json.dumps(schema))
    assert set(raw.TOP_LEVEL) == set(schema["properties"])
    described = {f"{scope}.{name}" for scope in TABLES for name in inside(schema["$defs"][scope])}
    assert set(KEYS) == described
    assert ["command"] == schema["$defs"]["worker"]["required"]
    assert "required" not in schema["properties"]["defaults"]["properties"]["worker"]


def inside(table: dict[str, Any]) -> Iterator[str]:
    """The keys of a table of the schema, those of tables inside with dots."""
    assert table["additionalProperties"] is False
    for name, key in table["properties"].items():
        yield name
        if "properties" in key:
            yield from (f"{name}.{inner}" for inner in inside(key))


def test_schema_shows_defaults_as_a_file_has_them() -> None:
    """Times and sizes have their units, enumerations their words."""
    worker = config.schema()["$defs"]["worker"]["properties"]
    shown = {
        name: worker[name]["default"] for name in ("shutdown", "umask", "stop_signal", "restart")
    }
    assert {
        "shutdown": "5s",
        "umask": "022",
        "stop_signal": "TERM",
        "restart": "permanent",
    } == shown
    assert "50M" == worker["log"]["properties"]["max_bytes"]["default"]


@pytest.mark.parametrize(
    "scope", [scope for scope in KEYS if scope.count(".") == 1 and scope.startswith("worker.")]
)
def test_wrong_value_is_one_problem(scope: str, tmp_path: Path) -> None:
    """A value that no key takes is refused at every key, by its name, at its line."""
    name = scope.rpartition(".")[2]
    file = tmp_path / "tree.toml"
    command = "" if name == "command" else 'command = "true"\n'
    file.write_text(f"[worker.web]\n{command}{name} = 1979-05-27\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_on(HOST, file)
    (problem,) = caught.value.problems
    line = 2 if name == "command" else 3
    assert (str(file), line) == (problem.file, problem.line)
    kind = KEYS[scope].kind
    must = kind.must if isinstance(kind, Kind) else "must be a table"
    if isinstance(kind, OpenTable | SubTable) or "path" not in must:
        assert problem.message.startswith(f"worker.web.{name}: cannot be 1979-05-27: {must}")
    else:
        assert problem.message == f"worker.web.{name}: cannot be 1979-05-27: must be a string"


def test_importing_the_package_is_cheap() -> None:
    """Neither the parser nor any other module comes in before one of the names is used."""
    code = "import sys, supervisord_ng.config as c; print([m for m in sys.modules if 'tomli' in m"
    code += (
        " or m.startswith('supervisord_ng.config.')]); c.load; c.schema; print(callable(c.load))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "[]\nTrue\n" == run.stdout


def test_unknown_name_of_the_package() -> None:
    """What the package does not have is an AttributeError, as of any module."""
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        _ = config.lode
