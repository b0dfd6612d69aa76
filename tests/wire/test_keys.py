"""The file of a node's key: what is made, what is read, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisord_ng.errors import NodeKeyError
from supervisord_ng.wire import keys
from tests.needs import require_ordinary_user


def test_a_new_key_is_one_line_for_its_owner_alone(tmp_path: Path) -> None:
    """40 characters Z85, mode 0600 whatever the umask; read again it is the same pair."""
    path = tmp_path / "node.key"
    before = os.umask(0)
    try:
        made = keys.create(str(path))
    finally:
        os.umask(before)
    assert 0o600 == path.stat().st_mode & 0o7777
    assert f"{made.secret}\n" == path.read_text()
    assert [40, 40] == [len(made.secret), len(made.public)]
    assert made == keys.read(str(path))
    assert (made, False) == keys.read_or_create(str(path))


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """Whatever is in the file, it stays."""
    path = tmp_path / "node.key"
    path.write_text("precious\n")
    with pytest.raises(NodeKeyError) as caught:
        keys.create(str(path))
    expected = f"cannot write key file {path}: it exists, and a key is never overwritten"
    assert expected == str(caught.value)
    assert "precious\n" == path.read_text()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700 | 0o010])
def test_a_key_that_others_may_reach_is_refused(tmp_path: Path, mode: int) -> None:
    """As ssh does it; the message says what to do."""
    path = tmp_path / "node.key"
    keys.create(str(path))
    path.chmod(mode)
    with pytest.raises(NodeKeyError, match=f"its mode is {mode:04o} .*chmod 600"):
        keys.read(str(path))


@pytest.mark.parametrize(
    "content", ["", "short\n", "x" * 41, "x" * 40 + "\nmore", "#" * 40, "é" * 40]
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    """Too short, too long, no Z85, or more than a line."""
    path = tmp_path / "node.key"
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(NodeKeyError, match="cannot use key file"):
        keys.read(str(path))


def test_where_there_is_none_the_path_is_named(tmp_path: Path) -> None:
    """A file that is missing, or is none."""
    with pytest.raises(NodeKeyError, match="no such file"):
        keys.read(str(tmp_path / "absent"))
    with pytest.raises(NodeKeyError, match="no such file"):
        keys.create(str(tmp_path / "absent" / "node.key"))
    with pytest.raises(NodeKeyError, match="is a directory"):
        keys.read(str(tmp_path))


def test_a_key_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """What one may not read, one cannot use."""
    require_ordinary_user()
    path = tmp_path / "node.key"
    keys.create(str(path))
    path.chmod(0)
    with pytest.raises(NodeKeyError, match="permission denied"):
        keys.read(str(path))
