"""What ``sng simulate`` prints, and that what it says is so.

The files in ``whatif/`` are what a user sees. After a change on purpose write them anew, from that directory:
``python -m supervisord_ng.cli.main simulate ... > NAME.txt``, and read them as a newcomer would.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from supervisord_ng import config, limits
from supervisord_ng.core import invariants
from supervisord_ng.model.reports import Event
from supervisord_ng.model.spec import (
    Backoff,
    ChildSpec,
    Heartbeat,
    LaunchSpec,
    Liveness,
    LogSpec,
    Ready,
    RemoteSpec,
    Strategy,
    SupervisorSpec,
    WorkerSpec,
)
from supervisord_ng.sim import whatif
from supervisord_ng.sim.whatif import Act, Deed, End, Fault, Pretend, play
from supervisord_ng.sim.whatif_loops import Loop, Outcome, explore
from tests.cli.canned import sng

HERE = Path(__file__).parent / "whatif"
QUICKSTART = "../../../examples/quickstart/tree.toml"
SECOND = limits.SECOND
HEARTBEAT = Heartbeat(interval_ns=SECOND, timeout_ns=5 * SECOND)

CASES = {
    "quickstart": [QUICKSTART],
    "quickstart-broken": [QUICKSTART, "--kill", "web@1s", "--hang", "indexer@2@2s"],
    "several": ["several.toml"],
    "several-one-kill": ["several.toml", "--kill", "never@1s", "--kill", "manual@2s"],
    "deep": ["deep.toml"],
    "deep-hang": ["deep.toml", "--hang", "after@1s", "--kill", "before@2s", "--hang", "pool@3@3s"],
    "deep-down": [
        "deep.toml",
        *itertools.chain(*(("--kill", f"before@{at}s") for at in (1, 2, 3))),
    ],
    "deep-not-for-ever": ["deep.toml", "--hang", "after@10s", "--for", "12s"],
}


@pytest.fixture
def _in_its_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named in the output as the user names them."""
    monkeypatch.chdir(HERE)


def simulate(*args: str) -> Result:
    """Call ``sng simulate``; the runtime directory is one that any user could have."""
    return sng("--runtime-dir", "/run/sng", "--state-dir", "/run/sng", "simulate", *args)


@pytest.mark.usefixtures("_in_its_directory")
@pytest.mark.parametrize("name", CASES)
def test_output_is_what_it_was(name: str) -> None:
    """Byte by byte, so that every change of it is one that somebody has read."""
    said = simulate(*CASES[name])

    assert 0 == said.exit_code, said.output
    assert (HERE / f"{name}.txt").read_text(encoding="utf-8") == said.stdout


@pytest.mark.usefixtures("_in_its_directory")
def test_the_same_seed_is_the_same_story() -> None:
    """Jitter comes from the seed and from nothing else."""
    one, same, other = (
        simulate("several.toml", "--kill", "never@1s", "--seed", seed).stdout
        for seed in ("7", "7", "8")
    )
    assert (True, False) == (one == same, one == other)


# --- JSON ----------------------------------------------------------------------------------------
@pytest.mark.usefixtures("_in_its_directory")
def test_a_story_as_json() -> None:
    """Events as `sng events --json` has them, with seconds since the start, and rows as `status`."""
    said = simulate("deep.toml", "--kill", "before@1s", "--hang", "pool@1@9s", "--json")
    story = json.loads(said.stdout)

    assert {
        *("file", "node", "assumed", "events", "time_s", "end"),
        *("children", "reason", "chain", "hanging"),
    } == set(story)
    assert ("deep.toml", 9.0, "settled", None) == (
        story["file"],
        story["time_s"],
        story["end"],
        story["reason"],
    )
    assert ["root/middle/low/pool@1"] == story["hanging"]
    assert {"time": 1.0, "act": "kill", "path": "root/before", "struck": True} == {
        key: story["events"][at][key]
        for at in [next(i for i, one in enumerate(story["events"]) if "act" in one)]
        for key in ("time", "act", "path", "struck")
    }
    crashed = next(one for one in story["events"] if one.get("event") == "crashed")
    assert ("root/before", 1, "signal:SIGKILL", 1.0) == (
        crashed["path"],
        crashed["incarnation"],
        crashed["reason"],
        crashed["time"],
    )
    rows = {row["path"]: row for row in story["children"]}
    assert ("running", 2, None) == tuple(
        rows["root/before"][key] for key in ("state", "incarnation", "pid")
    )


@pytest.mark.usefixtures("_in_its_directory")
def test_loops_as_json() -> None:
    """One object for each worker that is not like another one."""
    said = simulate("deep.toml", "--json")
    document = json.loads(said.stdout)

    assert {"file", "node", "assumed", "loops", "left_out"} == set(document)
    loops: dict[str, dict[str, Any]] = {loop["path"]: loop for loop in document["loops"]}
    assert {"root/before", "root/after", "root/middle/low/pool@1"} == set(loops)
    pool = loops["root/middle/low/pool@1"]
    assert {
        *("path", "alike", "one_shot", "by_hand", "outcome", "crashes", "took_s", "rounds"),
        *("repeats_s", "repeats_crashes", "life_s"),
    } == set(pool)
    assert ("down", 36, 11) == (pool["outcome"], pool["crashes"], len(pool["alike"]))
    assert ["root/middle/low", "root/middle", "root"] == pool["rounds"][-1]["gave_up"]
    assert {"path": "root/middle", "number": 1, "intensity": 2, "period_s": 10.0} == pool["rounds"][
        11
    ]["restarted"]


# --- wrong usage ---------------------------------------------------------------------------------
@pytest.mark.usefixtures("_in_its_directory")
@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["--kill", "befor@1s"], 1, "no such worker or supervisor: befor (did you mean before?)"),
        (["--kill", "zzz@1s"], 1, "no such worker or supervisor: zzz (see: sng check deep.toml)"),
        (["--hang", "before"], 2, "cannot use --hang before: it has no time; try before@5s"),
        (["--kill", "pool@2"], 2, "after pool@2 comes a time: pool@2@5s"),
        (["--for", "soon"], 2, "cannot use --for soon: 'soon' is no time such as 250ms, 5s, 1m30s"),
    ],
)
def test_wrong_usage_is_explained(args: list[str], status: int, message: str) -> None:
    """What is wrong, and what was probably meant."""
    said = simulate("deep.toml", *args)
    assert (status, "") == (said.exit_code, said.stdout)
    assert message in said.stderr


def test_a_wrong_tree_is_a_configuration_error(tmp_path: Path) -> None:
    """As for every verb: 78, and every problem."""
    tree = tmp_path / "tree.toml"
    tree.write_text('[worker.a]\ncomand = "x"\n')
    assert 78 == simulate(str(tree)).exit_code


@pytest.mark.usefixtures("_in_its_directory")
def test_a_supervisor_means_its_workers_and_all_means_everyone() -> None:
    """PATH is what it is for every verb."""
    events = json.loads(simulate("deep.toml", "--kill", "low@1s", "--json").stdout)["events"]
    assert 12 == sum(1 for one in events if one.get("act") == "kill")
    events = json.loads(simulate("deep.toml", "--kill", "all@1s", "--json").stdout)["events"]
    assert 14 == sum(1 for one in events if one.get("act") == "kill")


# --- the pretend world ---------------------------------------------------------------------------
def worker(name: str, **more: Any) -> WorkerSpec:
    """A worker of an imagined tree."""
    return WorkerSpec(name, LaunchSpec(("true",)), LogSpec("/dev/null"), **more)


def tree(*children: ChildSpec, **more: Any) -> SupervisorSpec:
    """A root."""
    return SupervisorSpec("root", children=children, **more)


def trees() -> Iterator[SupervisorSpec]:
    """Trees of all kinds, out of the files that are here."""
    for file in ("several.toml", "deep.toml", QUICKSTART):
        loaded = config.load(HERE / file, runtime_dir="/run/sng", state_dir="/run/sng")
        yield loaded.tree.root


def test_the_core_s_invariants_hold_in_the_pretend_world() -> None:
    """After every step, whoever is killed or hangs: nothing here is possible that is not in a real node."""
    for spec in trees():
        workers = [row.path for row in whatif.rows(spec) if row.kind == "worker"]
        for act in Act:
            pretend = Pretend(spec, "here", hear=lambda _: None)
            for at, path in enumerate(workers * 2):
                pretend.plan(at * SECOND // 7, Fault(act, path))
            while pretend.halted is None and not pretend.is_settled():
                pretend.next()
                invariants.check(pretend.state)


def test_beats_of_the_healthy_are_never_missed_and_those_of_the_hung_are() -> None:
    """A hang is found `timeout` after it began, however long all went well before."""
    beating = worker("beats", heartbeat=HEARTBEAT)
    story = play(tree(beating), "here", [(1000 * SECOND, Fault(Act.HANG, "root/beats"))])
    deeds = [line for line in story.lines if isinstance(line, Deed)]
    killed = [
        line.time for line in story.lines if isinstance(line, Event) and line.event == "killed"
    ]
    assert [1005.0] == [deed.noticed_s for deed in deeds]
    assert [1005.0 + limits.DUMP_WAIT_NS / SECOND] == killed
    assert 1000 > Pretend(tree(beating), "here", hear=lambda _: None).steps


def test_a_failing_probe_finds_a_hang_too() -> None:
    """A program that cannot beat and is probed: found after so many failures in a row, and replaced."""
    probe = Liveness(
        Ready("tcp", "127.0.0.1:80"), interval_ns=SECOND, timeout_ns=SECOND, failures=3
    )
    faults = [(10 * SECOND, Fault(Act.HANG, "root/a"))]
    story = play(tree(worker("a", liveness=probe)), "here", faults)
    crashed = [
        (line.time, line.reason)
        for line in story.lines
        if isinstance(line, Event) and line.event == "crashed"
    ]
    assert [14.0] == [line.noticed_s for line in story.lines if isinstance(line, Deed)]
    assert [(14.0 + limits.DUMP_WAIT_NS / SECOND, "liveness")] == crashed


def test_a_node_below_stays_away_and_nothing_breaks() -> None:
    """Of other nodes nothing is pretended: they have no link, and the tree comes up without them."""
    spec = tree(worker("a"), RemoteSpec("far", "key"))
    story = play(spec, "here", [(SECOND, Fault(Act.KILL, "root/a"))])
    states = {row.path: row.state for row in story.children}
    assert (End.SETTLED, "running", "lost") == (story.end, states["root/a"], states["root/far"])
    assert ["root/a"] == [loop.path for loop in explore(spec, "here").loops]


def test_who_waits_for_ever_is_named() -> None:
    """A worker that hangs, has no heartbeat and all the time of the world to stop: its supervisor waits."""
    spec = tree(worker("a"), worker("b", shutdown="infinity"), strategy=Strategy.ONE_FOR_ALL)
    faults = [(SECOND, Fault(Act.HANG, "root/b")), (2 * SECOND, Fault(Act.KILL, "root/a"))]
    story = play(spec, "here", faults)
    states = {row.path: row.state for row in story.children}
    assert (End.SETTLED, "stopping") == (story.end, states["root/b"])


def test_endless_stories_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that does not come to rest is given up after so many steps."""
    monkeypatch.setattr(limits, "WHATIF_STEPS_MAX", 1000)
    kills = [(at * SECOND, Fault(Act.KILL, "root/a")) for at in range(1000)]
    story = play(tree(worker("a"), intensity=None), "here", kills)
    assert End.BOUND is story.end


# --- crash loops ---------------------------------------------------------------------------------
def loop_of(spec: SupervisorSpec, path: str) -> Loop:
    """What becomes of one worker."""
    return next(loop for loop in explore(spec, "here").loops if loop.path == path)


def crash(spec: SupervisorSpec, path: str, life_ns: int, crashes: int) -> whatif.Story:
    """The same loop by hand: kill it so often, each time `life_ns` after the last kill."""
    faults = [((at + 1) * life_ns, Fault(Act.KILL, path)) for at in range(crashes)]
    return play(spec, "here", faults)


@pytest.mark.parametrize("intensity", [1, 3, 7])
def test_the_run_time_that_still_brings_everything_down_is_exact(intensity: int) -> None:
    """Killed that often at that pace the root gives up; a little slower and it does not."""
    spec = tree(
        SupervisorSpec("inner", children=(worker("a"),), intensity=intensity),
        intensity=2,
        period_ns=60 * SECOND,
    )
    loop = loop_of(spec, "root/inner/a")
    assert loop.life_s is not None
    life_ns = round(loop.life_s * SECOND)
    assert (Outcome.DOWN, 3 * (intensity + 1)) == (loop.outcome, loop.crashes)
    assert End.HALTED is crash(spec, loop.path, life_ns, loop.crashes).end
    slower = life_ns + limits.MS
    assert End.SETTLED is crash(spec, loop.path, slower, 3 * loop.crashes).end


def test_what_goes_on_for_ever_does_so_when_it_is_played() -> None:
    """Found by the situation that repeats; played a hundred times as long nobody has given up."""
    backoff = Backoff(initial_ns=SECOND, max_ns=4 * SECOND, jitter=0.0)
    spec = tree(worker("a", backoff=backoff), intensity=4, period_ns=10 * SECOND)
    loop = loop_of(spec, "root/a")
    assert (Outcome.FOR_EVER, 4.0, 1) == (loop.outcome, loop.repeats_s, loop.repeats_crashes)

    pretend = Pretend(spec, "here", hear=lambda _: None, crashing="root/a")
    pretend.run(100 * 60 * SECOND, limits.WHATIF_STEPS_MAX)
    assert None is pretend.halted


def test_a_loop_with_the_luckiest_jitter_is_what_counts() -> None:
    """Waits that reach the limit only when chance makes them short do reach it."""
    at_best = Backoff(initial_ns=10 * SECOND, max_ns=10 * SECOND, jitter=0.5)
    spec = tree(worker("a", backoff=at_best), intensity=2, period_ns=11 * SECOND)
    assert Outcome.DOWN is loop_of(spec, "root/a").outcome


def test_everyone_is_looked_at_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the bound is reached, no worker is passed over in silence."""
    monkeypatch.setattr(limits, "WHATIF_STEPS_MAX", 4000)
    monkeypatch.setattr(limits, "WHATIF_LOOP_STEPS_MAX", 1000)
    pool = tuple(worker(f"w{at}") for at in range(300))
    spec = tree(*pool, strategy=Strategy.ONE_FOR_ALL, intensity=100_000)
    findings = explore(spec, "here")
    looked_at = {loop.path for loop in findings.loops}
    assert {f"root/w{at}" for at in range(300)} == looked_at | set(findings.left_out)
    assert {Outcome.UNDECIDED} == {loop.outcome for loop in findings.loops}
    assert findings.left_out
