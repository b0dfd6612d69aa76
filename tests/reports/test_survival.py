"""Reports survive what happens to processes, disks and files; what is lost is counted."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from supervisord_ng import limits
from supervisord_ng.errors import StoreError
from supervisord_ng.model.paths import STORE
from supervisord_ng.reports import database
from supervisord_ng.reports.reader import Reader
from supervisord_ng.reports.store import Store
from tests.reports.samples import KEEP_NS, ids_in, lock, open_store, sample
from tests.support import eventually


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a store may be."""
    return str(tmp_path / STORE)


# --- what happens to processes --------------------------------------------------------------------


@pytest.mark.process
def test_kill_9_loses_nothing_that_was_acknowledged(path: str) -> None:
    """Killed at any moment, again and again: each report whose `done` came is there, once."""
    chance = random.Random(9)
    acknowledged: list[str] = []

    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-m", "tests.reports.writer", path], stdout=subprocess.PIPE
        )
        with writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(chance.randint(1, 1500))]
            writer.kill()
            lines += writer.stdout.readlines()
        acknowledged += [line.decode().strip() for line in lines if line.endswith(b"\n")]

    stored = ids_in(path)
    assert acknowledged == [one for one in stored if one in frozenset(acknowledged)]
    assert len(set(stored)) == len(stored)
    with open_store(path) as store:
        assert len(stored) == store.counts.stored


def test_close_writes_everything_that_waits(path: str) -> None:
    """And says how much it could not write: nothing."""
    store = Store.open(path, keep_ns=KEEP_NS, max_count=10_000, on_problem=print)
    reports = [sample() for _ in range(2 * limits.STORE_BATCH_MAX + 1)]
    for report in reports:
        store.append(report)
    store.save_incarnations({"root/a": 1})

    assert 0 == store.close(timeout_s=30)
    assert len(reports) == len(ids_in(path))
    assert {"root/a": 1} == Reader(path).incarnations()


def test_close_does_not_wait_for_a_disk_that_refuses(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says how many reports are lost with it. What comes afterwards is dropped."""
    monkeypatch.setattr(limits, "STORE_BUSY_TIMEOUT_S", 0.01)
    problems: list[str] = []
    store = Store.open(path, keep_ns=KEEP_NS, max_count=10, on_problem=problems.append)
    stranger = lock(path)
    store.append(sample())
    store.append(sample())

    assert 2 == store.close(timeout_s=30)
    store.append(sample())
    stranger.close()
    assert (0, 2, 1, 0) == store.counts
    assert [f"cannot write reports, they wait in memory: database is locked: {path}"] == problems


# --- what happens to disks and files --------------------------------------------------------------

IN_SMALL_DISK = 'mount -t tmpfs -o size=32m none "$1" && exec "$2" -m tests.reports.full_disk "$1"'
IN_READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" -c "$3" "$1"'
READ = f"""
import sys
from supervisord_ng.reports.reader import Reader
print(len(Reader(sys.argv[1] + "/{STORE}").newest()))
"""


def run_in_own_mounts(script: str, *arguments: str) -> str:
    """Run a shell script that mounts, seen by nobody else, as any user; return what it prints."""
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "-r"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this host cannot unshare mounts")
    command = [*unshare, "sh", "-c", script, "sh", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


@pytest.mark.process
def test_a_full_disk_costs_nothing_but_waiting(tmp_path: Path) -> None:
    """Reports wait, the loss above the bound is counted, and all is written when there is space."""
    story = run_in_own_mounts(IN_SMALL_DISK, str(tmp_path), sys.executable)

    assert {
        "full": [0, True],
        "problems": [
            "cannot write reports, they wait in memory",
            "reports are written again (0 dropped)",
        ],
        "all there once": True,
        "all acknowledged once": True,
        "numbers known on a full disk": {"root/a": 7},
        "bounded": True,
        "none unaccounted": True,
        "newest kept": True,
        "loss on disk": True,
    } == json.loads(story)


@pytest.mark.process
def test_a_read_only_directory_can_be_read(tmp_path: Path, path: str) -> None:
    """After an orderly end there is no -shm file and none can be made; the reports are read still."""
    with open_store(path) as store:
        for _ in range(3):
            store.append(sample())

    assert "3\n" == run_in_own_mounts(IN_READ_ONLY, str(tmp_path), sys.executable, READ)


@pytest.mark.process
def test_a_read_only_directory_can_be_read_after_a_kill(tmp_path: Path, path: str) -> None:
    """What is only in the -wal file is not missed."""
    command = [sys.executable, "-m", "tests.reports.writer", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.kill()
        stored = 1 + len(writer.stdout.readlines())

    read = int(run_in_own_mounts(IN_READ_ONLY, str(tmp_path), sys.executable, READ))

    assert os.path.getsize(path + "-wal") > 0
    assert read >= stored


@pytest.mark.parametrize("first_bytes_kept", [0, 4096], ids=["no database", "broken inside"])
def test_a_corrupt_store_is_moved_aside_not_deleted(path: str, first_bytes_kept: int) -> None:
    """Supervision goes on with a new store, and a person is told where the old one is."""
    with open_store(path) as store:
        for _ in range(100):
            store.append(sample())
    corrupt = overwrite(path, first_bytes_kept)
    problems: list[str] = []

    with open_store(path, on_problem=problems.append) as store:
        store.append(sample(id="after"))

    assert ["after"] == ids_in(path)
    assert corrupt == Path(path + ".corrupt-1").read_bytes()
    assert 1 == len(problems)
    assert problems[0].endswith(f"it is now {path}.corrupt-1; a new one is begun")


def overwrite(path: str, kept: int) -> bytes:
    """Fill a file with rubbish but for its first bytes; return what it holds then."""
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(kept)
        file.write(b"rubbish " * (size // 8))
        file.truncate(size)
    return Path(path).read_bytes()


def test_corrupt_stores_do_not_pile_up(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where enough of them lie, a new one is not moved there: nothing is begun, a person must look."""
    monkeypatch.setattr(limits, "STORE_ASIDE_MAX", 1)
    Path(path + ".corrupt-1").write_text("an earlier one")
    Path(path).write_text("rubbish" * 1000)

    with pytest.raises(StoreError) as refused:
        Store.open(path, keep_ns=KEEP_NS, max_count=10, on_problem=print)

    assert f"cannot replace the corrupt store {path}: 1 others lie beside it" in str(refused.value)


@pytest.mark.parametrize("act", [os.unlink, lambda path: os.rename(path, path + ".gone")])
def test_a_store_taken_away_is_begun_anew(path: str, act: object) -> None:
    """Whoever cleans up the directory of a running daemon loses the past, not the future."""
    assert callable(act)
    problems: list[str] = []
    with open_store(path, on_problem=problems.append) as store:
        store.save_incarnations({"root/a": 4})
        store.append(sample(id="before"))
        eventually(lambda: store.counts.stored == 1, "stored")
        act(path)
        store.append(sample(id="after"))
        eventually(lambda: problems and store.counts.waiting == 0, "stored anew")
        assert 1 == store.counts.stored

    assert ["after"] == ids_in(path)
    assert {"root/a": 4} == Reader(path).incarnations()
    assert [f"the store was moved or deleted, a new one is begun: {path}"] == problems


def test_a_store_of_a_newer_version_is_refused_untouched(path: str) -> None:
    """Both versions are named; guessing at a schema could destroy it."""
    with open_store(path) as store:
        store.append(sample())
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    message = (
        f"cannot use the store {path}: it has schema 99,"
        f" this version knows up to {database.SCHEMA_VERSION}"
        " (it was written by a newer supervisord-ng: run that, or choose another state_dir)"
    )

    with pytest.raises(StoreError) as by_writer:
        Store.open(path, keep_ns=KEEP_NS, max_count=10, on_problem=print)
    with pytest.raises(StoreError) as by_reader:
        Reader(path).newest()

    assert [message, message] == [str(by_writer.value), str(by_reader.value)]


def test_the_database_of_another_program_is_refused_untouched(path: str) -> None:
    """It may hold somebody's mail."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE mail (text)")
    connection.close()
    before = Path(path).read_bytes()

    with pytest.raises(StoreError) as refused:
        Store.open(path, keep_ns=KEEP_NS, max_count=10, on_problem=print)

    assert f"cannot use the store {path}: it is the database of another program" in str(
        refused.value
    )
    assert before == Path(path).read_bytes()


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    """The path stands in the message, of a reader and of a writer."""
    path = str(tmp_path / "missing" / STORE)

    with pytest.raises(StoreError) as by_writer:
        Store.open(path, keep_ns=KEEP_NS, max_count=10, on_problem=print)
    with pytest.raises(StoreError) as by_reader:
        Reader(path).newest()

    assert f"cannot open the store: unable to open database file: {path}" == str(by_writer.value)
    assert f"cannot read reports: no such file: {path}" in str(by_reader.value)
