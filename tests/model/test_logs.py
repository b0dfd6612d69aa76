"""`model.logs`: bytes become lines, bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisord_ng import limits
from supervisord_ng.model.logs import CUT_MARK, LineSplitter, backup_path


def test_backups_are_numbered_from_the_newest() -> None:
    """`.1` is the newest backup, and the file itself has no number."""
    assert ["w.log", "w.log.1", "w.log.10"] == [
        backup_path("w.log", number) for number in (0, 1, 10)
    ]


@given(st.lists(st.binary(max_size=30) | st.just(b"\n")))
def test_lines_do_not_depend_on_the_blocks(blocks: list[bytes]) -> None:
    """The same bytes give the same lines, however they were cut into blocks."""
    splitter = LineSplitter()
    lines = [line for block in blocks for line in splitter.feed(block)]
    rest = splitter.flush()
    assert b"".join(blocks) == b"\n".join([*lines, *rest] if rest else [*lines, b""])


def test_a_long_line_comes_in_marked_pieces() -> None:
    """A complete line above the limit is cut; every piece but the last says that it goes on."""
    splitter = LineSplitter()
    size = limits.LOG_LINE_MAX
    lines = splitter.feed(b"a" * size + b"b" * size + b"c\nnext\n")
    assert [b"a" * size + CUT_MARK, b"b" * size + CUT_MARK, b"c", b"next"] == lines


def test_a_line_without_end_is_held_only_up_to_the_limit() -> None:
    """A flood without a newline comes out in pieces and leaves little behind."""
    splitter = LineSplitter()
    pieces = [piece for _ in range(100) for piece in splitter.feed(b"x" * 1000)]
    assert [limits.LOG_LINE_MAX + len(CUT_MARK)] * len(pieces) == [len(piece) for piece in pieces]
    assert splitter.pending_bytes <= limits.LOG_LINE_MAX
    whole = b"".join(piece.removesuffix(CUT_MARK) for piece in pieces) + splitter.flush()[0]
    assert b"x" * 100_000 == whole


def test_a_line_of_exactly_the_limit_is_whole() -> None:
    """The limit itself is allowed."""
    line = b"x" * limits.LOG_LINE_MAX
    assert [line] == LineSplitter().feed(line + b"\n")


def test_flush_gives_the_rest_once() -> None:
    """What has no end is given when asked for, and then forgotten."""
    splitter = LineSplitter()
    splitter.feed(b"whole\nrest")
    assert [b"rest"] == splitter.flush()
    assert [] == splitter.flush()
