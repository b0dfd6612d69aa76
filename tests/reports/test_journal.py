"""The journal: the next daemon reads what this one knew, and nothing that was not so at one moment."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from supervisord_ng.core import memory
from supervisord_ng.core.state import Downlink, NodeState
from supervisord_ng.errors import StoreError
from supervisord_ng.model.exits import NORMAL
from supervisord_ng.model.spec import LaunchSpec, RemoteSpec
from supervisord_ng.reports import database, journal
from supervisord_ng.reports.reader import Reader
from supervisord_ng.reports.store import Store
from tests.core.node import BOOM, Node, supervisor, worker
from tests.reports.samples import sample
from tests.support import eventually


def opened(directory: Path, problems: list[str] | None = None) -> Store:
    """A store in `directory`."""
    return Store.open(
        str(directory / "store.sqlite"),
        keep_ns=10**18,
        max_count=1000,
        on_problem=(problems if problems is not None else []).append,
        boot="this-boot",
    )


def written(directory: Path) -> journal.Recalled:
    """What the next daemon would read."""
    recalled = journal.read(str(directory / "store.sqlite"))
    assert recalled is not None
    return recalled


def is_written(directory: Path, state: NodeState) -> bool:
    """Whether the disk says just this."""
    return written(directory).memory == memory.of(state)


def test_what_is_written_is_what_is_remembered(tmp_path: Path) -> None:
    """Everything, with the boot of the host that it belongs to."""
    node = Node(supervisor("root", worker("a"), supervisor("s", worker("b"))))
    store = opened(tmp_path)
    store.record([], node.state)
    store.close(10)
    recalled = written(tmp_path)
    assert ("this-boot", memory.of(node.state)) == (recalled.boot, recalled.memory)
    assert {"root/a", "root/s/b"} == recalled.launches.keys()


def test_only_what_changed_is_written_again_and_what_is_gone_goes(tmp_path: Path) -> None:
    """A thousand children of which one crashes are not a thousand rows."""
    node = Node(supervisor("root", worker("a"), worker("b"), worker("t", restart="temporary")))
    store = opened(tmp_path)
    store.record([], node.state)
    eventually(lambda: is_written(tmp_path, node.state), "the first state is written")
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as other:
        other.execute("UPDATE journal SET body = 'untouched' WHERE path = 'root/b'")
        other.commit()
        node.exits("root/a", BOOM)
        node.exits("root/t", NORMAL)
        store.record([], node.state)
        store.close(10)
        rows = dict(other.execute("SELECT path, body FROM journal WHERE kind = 'child'"))
    assert {"root/a", "root/b"} == rows.keys()
    assert "untouched" == rows["root/b"]


def test_what_the_nodes_below_say_all_the_time_is_not_written(tmp_path: Path) -> None:
    """Their beats change the state, and nothing that is remembered: an idle parent leaves the disk alone."""
    node = Node(supervisor("root", worker("a")))
    heard = replace(node.state, downlinks={"n": Downlink("root/n", RemoteSpec("n", "key"))})
    kept = journal.Journal("this-boot")
    assert kept.lacks(node.state)
    with closing(database.connect_writer(str(tmp_path / "store.sqlite"))) as connection:
        kept.write(connection, node.state)
    assert not kept.lacks(heard)
    node.exits("root/a", BOOM)
    assert kept.lacks(node.state)


def test_a_report_and_the_state_after_it_are_there_together(tmp_path: Path) -> None:
    """One transaction: a kill in between would make two reports of a death, or none."""
    node = Node(supervisor("root", worker("a")))
    store = opened(tmp_path)
    sent = []
    for _ in range(50):
        node.exits("root/a", BOOM)
        node.advance("10s")
        sent.append(sample())
        store.record(sent[-1:], node.state)
        on_disk = {one.id for one in Reader(str(tmp_path / "store.sqlite")).newest()}
        if on_disk:
            incarnation = written(tmp_path).memory.children["root/a"].incarnation
            assert incarnation - 1 >= len(on_disk)
    store.close(10)
    assert 51 == written(tmp_path).memory.children["root/a"].incarnation
    assert {one.id for one in sent} == {
        one.id for one in Reader(str(tmp_path / "store.sqlite")).newest()
    }


def test_a_file_that_was_taken_away_is_written_anew_as_a_whole(tmp_path: Path) -> None:
    """The next daemon must not find half of it."""
    node = Node(supervisor("root", worker("a"), worker("b")))
    store = opened(tmp_path)
    store.record([], node.state)
    eventually(lambda: is_written(tmp_path, node.state), "the first state is written")
    for file in tmp_path.glob("store.sqlite*"):
        os.unlink(file)
    node.exits("root/a", BOOM)
    store.record([], node.state)
    store.close(10)
    assert is_written(tmp_path, node.state)


def test_an_earlier_daemons_journal_is_replaced(tmp_path: Path) -> None:
    """Nothing of another tree is left in it."""
    for name in ("a", "b"):
        node = Node(supervisor("root", worker(name)))
        store = opened(tmp_path)
        store.record([], node.state)
        store.close(10)
    assert is_written(tmp_path, node.state)


def test_a_journal_of_another_format_is_refused_in_words(tmp_path: Path) -> None:
    """Its fields may mean something else."""
    store = opened(tmp_path)
    store.record([], Node(supervisor("root", worker("a"))).state)
    store.close(10)
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as other:
        other.execute("""UPDATE journal SET body = '{"format": 99}' WHERE kind = 'node'""")
        other.commit()
    with pytest.raises(StoreError, match="it has format 99, this version knows 1"):
        written(tmp_path)


def test_a_store_without_a_journal_says_nothing(tmp_path: Path) -> None:
    """A new one, and one of a version that kept none."""
    opened(tmp_path).close(10)
    assert journal.read(str(tmp_path / "store.sqlite")) is None


def test_launches_differ_when_a_restart_would_be_needed() -> None:
    """And are the same whatever the order of the environment; its values are not to be read off."""
    one = LaunchSpec(command=("x",), environment={"A": "secret", "B": "2"})
    same = LaunchSpec(command=("x",), environment={"B": "2", "A": "secret"})
    other = LaunchSpec(command=("x",), environment={"A": "Secret", "B": "2"})
    assert journal.fingerprint(one) == journal.fingerprint(same)
    assert journal.fingerprint(one) != journal.fingerprint(other)
