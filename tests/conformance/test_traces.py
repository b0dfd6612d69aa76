"""The core prints the traces of the real Erlang/OTP: every scenario, line by line.

`scenarios/NAME.scn` is what is done, `NAME.trace` what Erlang/OTP 25.2.3 printed for it. Where we depart on
purpose, `NAME.ours` is what we print instead, and the reason stands in `DEPARTURES` here and in
docs/otp-conformance.md.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from supervisord_ng.sim.otp.driver import Driver

SCENARIOS = Path(__file__).parent / "scenarios"
NAMES = sorted(path.stem for path in SCENARIOS.glob("*.scn"))

DEPARTURES = {
    "o_restart_ignore": "OTP 25 keeps a dead instance and crashes when stopped; fixed in later OTP",
    "p_code_change": "a release upgrade; our reload of the configuration does more and is its own",
    "p_get_childspec": "OTP forgets the start arguments of temporary children added at run time",
    "v_simple_needs_one_spec": "refused as well; the error names the children, not their Erlang maps",
}
"""Scenarios whose trace is not Erlang's, and why."""

ORPHANS = {
    "n_held_supervisor_shutdown_time": ("m1", "m2"),
    "n_killed_supervisor_is_restarted": ("m1", "m2"),
    "n_supervisor_shutdown_time_runs_out": ("m1", "m2"),
}
"""Scenarios in which a supervisor is killed, with the children that outlive it. When these end is not
defined by OTP, and ours holds the restart until they are gone: their exits are compared as a set."""


@pytest.mark.parametrize("name", NAMES)
def test_the_trace_is_that_of_the_real_erlang(name: str) -> None:
    """The same scenario gives the same lines in the same order."""
    got = Driver((SCENARIOS / f"{name}.scn").read_text()).play()
    erlang = (SCENARIOS / f"{name}.trace").read_text()
    if name in DEPARTURES:
        assert (SCENARIOS / f"{name}.ours").read_text() == got
        assert erlang != got, "the departure is gone: take it out of the table"
    elif name in ORPHANS:
        assert _orphans_apart(erlang, ORPHANS[name]) == _orphans_apart(got, ORPHANS[name])
    else:
        assert erlang.splitlines() == got.splitlines()


def test_every_departure_is_documented() -> None:
    """The tables here and in the documentation name the same scenarios."""
    page = (Path(__file__).parents[2] / "docs" / "otp-conformance.md").read_text()
    for name in (*DEPARTURES, *ORPHANS):
        assert f"`{name}`" in page
        assert name in NAMES


def test_the_command_prints_the_traces_of_several_files() -> None:
    """``python -m supervisord_ng.sim.otp A.scn B.scn`` prints one trace after the other."""
    names = ["i_exactly_at_limit", "d_brutal_kill"]
    files = [str(SCENARIOS / f"{name}.scn") for name in names]
    expected = "".join((SCENARIOS / f"{name}.trace").read_text() for name in names)
    done = _command(files)
    assert (0, expected) == (done.returncode, done.stdout)


def test_a_scenario_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The exit status is 1 and standard error says which file and which line."""
    broken = tmp_path / "broken.scn"
    broken.write_text("sup top\nboot\nfly top\n")
    done = _command([str(broken)])
    assert 1 == done.returncode
    assert f"cannot play {broken}: cannot do the command: fly top\n" == done.stderr


def _command(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "supervisord_ng.sim.otp", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _orphans_apart(trace: str, orphans: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The lines of a trace without the exits of these children, and those exits sorted."""
    lines = trace.splitlines()
    apart = [line for line in lines if line.startswith(tuple(f"exit {name}#" for name in orphans))]
    return [line for line in lines if line not in apart], sorted(apart)
