"""A flight record is what happened: replayed, it leads where it led then."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from supervisord_ng import limits
from supervisord_ng.cli.main import cli
from supervisord_ng.core import flight, machine
from supervisord_ng.core.effects import Effect, Spawn
from supervisord_ng.core.events import (
    Beat,
    Beats,
    Call,
    Emptied,
    Event,
    Exited,
    Spawned,
    SpawnFailed,
    Stop,
)
from supervisord_ng.core.flight import Moment
from supervisord_ng.core.state import NodeState
from supervisord_ng.model.exits import SHUTDOWN, ExitStatus, start_failed
from supervisord_ng.model.spec import Backoff, LaunchSpec, LogSpec, SupervisorSpec, WorkerSpec
from supervisord_ng.runtime import recorder
from supervisord_ng.runtime.recorder import Recorder
from supervisord_ng.runtime.shell import Shell
from tests.daemon.node import REPOSITORY, Node
from tests.support import eventually

SECRET = "hunter2"
TREE = f"""
[supervisor.root]
strategy = "rest_for_one"
intensity = 100
children = ["a", "pool", "b"]
[supervisor.pool]
strategy = "one_for_all"
intensity = 1
period = "60s"
children = ["c", "d"]
[defaults.worker]
command = "sleep 1000"
environment = {{ PASSWORD = "{SECRET}" }}
[worker.a]
[worker.b]
backoff = {{ initial = "10ms", jitter = 0.5 }}
[worker.c]
[worker.d]
"""


def worker(name: str) -> WorkerSpec:
    """A worker of an imagined tree."""
    launch = LaunchSpec(("true",), environment={"PASSWORD": SECRET, "PATH": "/bin"})
    return WorkerSpec(name, launch, LogSpec("/dev/null"), backoff=Backoff(jitter=0.3))


def replay(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Replay a record in a program of its own."""
    command = [sys.executable, "-m", "supervisord_ng.sim.replay", str(file), *options]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def record(node: Node, file: Path, *options: str) -> Result:
    """Let sng write the record of a daemon."""
    args = ["--runtime-dir", str(node.runtime_dir), "events", "--record", str(file), *options]
    return CliRunner().invoke(cli, args, prog_name="sng")


def kill(node: Node, name: str) -> None:
    """Kill a worker and wait for its replacement."""
    before = node.pids()[name]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: node.pids().get(name) not in (None, before), f"{name} is replaced")


@pytest.mark.process
def test_a_daemon_s_record_leads_to_the_same_state(short_dir: Path) -> None:
    """Crashes, back-off, a give-up, an operator's orders: replayed by another process, the same state."""
    file = short_dir / "record"
    with Node(short_dir, TREE) as node:
        node.wait_up()
        kill(node, "b")
        node.ask("stop", paths=["a"])
        node.ask("start", paths=["a"])
        for _ in range(2):  # the second is one too many for `pool`
            kill(node, "c")
        eventually(lambda: len(node.pids()) == 4, "all run again")
        said = record(node, file)
        again = record(node, file)
    assert (0, True) == (said.exit_code, said.stdout.startswith(f"wrote {file}: ")), said.output
    assert (1, f"sng: cannot write {file}: file exists\n") == (again.exit_code, again.stderr)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert SECRET not in file.read_text()
    assert "PASSWORD" in file.read_text()

    replayed = replay(file, "-v")

    assert (0, "") == (replayed.returncode, replayed.stderr)
    assert "Exited root/pool/c" in replayed.stdout
    assert "Note event=gave_up root/pool" in replayed.stdout
    assert "same state after" in replayed.stdout.splitlines()[-1]


@pytest.mark.process
def test_a_changed_record_is_told_apart(short_dir: Path) -> None:
    """Take one crash out of a record: the first difference is named, exit status 1."""
    file = short_dir / "record"
    with Node(short_dir, TREE) as node:
        node.wait_up()
        kill(node, "b")
        said = record(node, file, "--json")
    lines = file.read_text().splitlines()
    assert {"file": str(file), "events": len(lines) - 3} == json.loads(said.stdout)
    header = json.loads(lines[0])
    kept = [line for line in lines[1:] if '"type":"exited"' not in line]
    header["events"] = len(kept) - 2
    file.write_text("\n".join([json.dumps(header), *kept]) + "\n")

    replayed = replay(file)

    assert 1 == replayed.returncode
    assert "AssertionError" in replayed.stdout or "not the same state: " in replayed.stdout


def test_record_stands_alone() -> None:
    """It takes everything, so there is nothing to choose and nothing to follow."""
    said = CliRunner().invoke(cli, ["events", "--record", "x", "--since", "3"], prog_name="sng")
    assert (2, False) == (said.exit_code, Path("x").exists())


def test_without_a_daemon_no_file_is_left(short_dir: Path) -> None:
    """A record that cannot be fetched leaves nothing behind."""
    file = short_dir / "record"
    args = ["--runtime-dir", str(short_dir), "events", "--record", str(file)]
    said = CliRunner().invoke(cli, args, prog_name="sng")
    assert (7, False) == (said.exit_code, file.exists())


# A daemon whose hands are broken: a worker is said to be gone for good before it was there.
BROKEN = """
import sys
from supervisord_ng.core.events import Emptied
from supervisord_ng.runtime.workers import Workers

spawn = Workers.spawn

def lies_about_the_second(self, effect):
    if effect.path == "root/b":
        return Emptied(effect.path, effect.incarnation)
    return spawn(self, effect)

Workers.spawn = lies_about_the_second
from supervisord_ng.daemon import main
main(sys.argv[1:])
"""


@pytest.mark.process
def test_a_failure_of_the_core_is_kept_and_reproduced(short_dir: Path) -> None:
    """The daemon ends with 70 and names the record; replayed, the same assertion fails."""
    tree = short_dir / "tree.toml"
    tree.write_text(TREE)
    state = short_dir / "state"
    daemon = subprocess.run(
        [
            *(sys.executable, "-c", BROKEN, "-c", str(tree)),
            *("--runtime-dir", str(short_dir / "run"), "--state-dir", str(state)),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    records = list(state.glob("flight-*.json"))
    assert (70, 1) == (daemon.returncode, len(records)), daemon.stderr
    assert f"supervisord-ng: wrote {records[0]}; " in daemon.stderr
    assert 0o600 == stat.S_IMODE(records[0].stat().st_mode)
    assert SECRET not in records[0].read_text()

    replayed = replay(records[0])

    assert (0, "") == (replayed.returncode, replayed.stderr)
    assert "same failure at event" in replayed.stdout.splitlines()[-1]
    assert "AssertionError: Emptied for root/b #1 in phase spawning" in replayed.stdout


def test_a_failure_of_the_hands_is_told_from_one_of_the_core(short_dir: Path) -> None:
    """What failed outside of the core cannot be reproduced: exit status 1, and the traceback is shown."""

    async def run() -> tuple[BaseException, flight.Flight]:
        failed: list[BaseException] = []
        kept = Recorder("here")

        def perform(effect: Effect) -> Event | None:
            if not isinstance(effect, Spawn):
                return None
            if effect.path == "root/b":
                raise RuntimeError("no hands")
            return Spawned(effect.path, effect.incarnation, 7)

        shell = Shell(asyncio.get_running_loop(), perform, lambda: None, failed.append, kept)
        spec = SupervisorSpec("root", children=(worker("a"), worker("b")))
        shell.begin(*machine.boot(spec, seed=1, now=time.monotonic_ns()))
        shell.go()
        return failed[0], kept.flight(shell.state, failed[0])

    error, flown = asyncio.run(run())
    path = recorder.write(flown, str(short_dir))

    replayed = replay(Path(path))

    assert "no hands" == str(error)
    assert 1 == replayed.returncode
    assert "the daemon failed with RuntimeError: no hands" in replayed.stdout
    assert "same state after 1 events" in replayed.stdout


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it does not begin like a flight record"),
        ('{"format": "something", "node": "n", "written": 0, "events": 1}', "no flight record"),
        (
            '{"format": "supervisord-ng flight", "version": 9, "node": "n", "written": 0, "events": 1}',
            "it has version 9",
        ),
        (
            '{"format": "supervisord-ng flight", "node": "n", "written": 0, "events": 1}',
            "damaged or not whole",
        ),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """In a line that names the file and says why; exit status 2."""
    file = tmp_path / "file"
    file.write_text(text)
    replayed = replay(file)
    assert (2, "") == (replayed.returncode, replayed.stdout)
    assert f"cannot replay {file}: " in replayed.stderr
    assert why in replayed.stderr


def booted() -> NodeState:
    """A tree of one worker that is being spawned."""
    return machine.boot(SupervisorSpec("root", children=(worker("a"),)), seed=2**64 - 1, now=5)[0]


def test_every_event_survives_being_written() -> None:
    """What is read is what was written, but for the values of environments."""
    happened: list[Event] = [
        Spawned("root/a", 1, 12),
        Exited("root/a", 1, ExitStatus(code=3), empty=False),
        Exited("root/a", 1, SHUTDOWN),
        SpawnFailed("root/a", 1, start_failed("ENOENT")),
        Emptied("root/a", 1),
        Beats((Beat("root/a", 1, 7), Beat("root/a", 1))),
        Stop(),
        Call("root", 1, "restart_child", "a", now=True),
    ]
    kept = Recorder("here")
    kept.begin(booted())
    for at, event in enumerate(happened):
        kept.record(at, event, booted())
    flown = kept.flight(booted())

    read = flight.read(flight.lines(flown))

    assert [Moment(at, event) for at, event in enumerate(happened)] == read.moments
    assert 2**64 - 1 == read.start.seed
    spec = read.start.supervisors["root"].children["a"].spec
    assert isinstance(spec, WorkerSpec)
    assert {"PASSWORD": flight.REDACTED, "PATH": flight.REDACTED} == spec.launch.environment
    hidden = msgspec.structs.replace(worker("a").launch, environment=spec.launch.environment)
    assert msgspec.structs.replace(worker("a"), launch=hidden) == spec


def test_the_recorder_is_bounded_and_keeps_what_it_promises() -> None:
    """Never more than two segments, always at least one of events; by their bytes as by their number."""
    kept = Recorder("here")
    state = booted()
    kept.begin(state)
    for at in range(3 * limits.FLIGHT_EVENTS + 5):
        kept.record(at, Stop(), state)
    moments = kept.flight(state).moments
    assert limits.FLIGHT_EVENTS + 5 == len(moments)
    assert (2 * limits.FLIGHT_EVENTS, 3 * limits.FLIGHT_EVENTS + 4) == (
        moments[0].now,
        moments[-1].now,
    )

    many = Beats((Beat("root/a", 1),) * limits.HEARTBEAT_BATCH)
    for at in range(limits.FLIGHT_EVENTS):
        kept.record(at, many, state)
    held = len(kept.flight(state).moments) * limits.HEARTBEAT_BATCH * limits.FLIGHT_BEAT_BYTES
    assert limits.FLIGHT_BYTES / 2 < held < 3 * limits.FLIGHT_BYTES


def test_failures_do_not_fill_the_disk(tmp_path: Path) -> None:
    """So many records are kept and no more are written."""
    for number in range(limits.FLIGHT_FILES_MAX):
        (tmp_path / f"flight-{number}.json").touch()
    kept = Recorder("here")
    kept.begin(booted())
    with pytest.raises(FileExistsError, match="10 flight records are there already"):
        recorder.write(kept.flight(booted()), str(tmp_path))
