"""``python -m tests.core.plant [--all] [NAME...]``: plant mistakes in the core, say which check notices.

One process per mistake, because it has the core imported wrong. There are four checks, asked in this order:

    conformance   the traces of the real Erlang
    model         the naive model, some hundred histories
    simulator     some hundred seeds
    fleet         some seeds of several nodes

Without `--all` the first that notices is enough, and a mistake may name the one to ask first.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from textwrap import shorten
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, NamedTuple

import supervisord_ng
from tests.core.mistake import Change, Mistake
from tests.core.mistakes import MISTAKES

if TYPE_CHECKING:  # it imports the core
    from supervisord_ng.sim.verdict import Outcome

ROOT = Path(__file__).parents[2]
SOURCE = Path(supervisord_ng.__file__).parent / "core"
INTACT = "(the core as it is)"
NONE = Mistake(())
PARALLEL = 2  # processes at a time
HISTORIES = 600  # of the model
SEEDS = 120  # of the simulator
STEPS = 300
FLEETS = 40  # seeds of the simulated fleet
FLEET_S = 60
WHERE_WIDTH = 70  # columns for what was found
CHECK_S = (
    60.0  # of CPU time; a check that takes longer is in a loop that never ends, which is a find
)


class CheckTimeoutError(Exception):
    """A check did not come to an end."""


class Find(NamedTuple):
    """The check that noticed, and the scenario, history or seed in which it did."""

    check: str
    where: str


def source(module: str, changes: Sequence[Change]) -> str:
    """The text of a module of the core with these changes."""
    text = (SOURCE / f"{module}.py").read_text(encoding="utf-8")
    for change in changes:
        if change.module == module:
            found = text.count(change.right)
            if found != 1:
                raise ValueError(
                    f"cannot plant: {change.right!r} stands {found} times in core/{module}.py;"
                    " let tests/core/mistakes.py follow the core"
                )
            text = text.replace(change.right, change.wrong)
    return text


class Planter(MetaPathFinder, Loader):
    """Imports modules of the core with the changes in them."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes
        self._modules = {f"supervisord_ng.core.{change.module}" for change in changes}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Take the modules that are changed, leave the others to Python."""
        del path, target
        return spec_from_loader(fullname, self) if fullname in self._modules else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As Python does it."""
        del spec
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Compile the wrong text under the name of the right file."""
        name = module.__name__.rpartition(".")[2]
        code = compile(source(name, self._changes), str(SOURCE / f"{name}.py"), "exec")
        exec(code, module.__dict__)


# --- the checks, which import the core as it is planted -------------------------------------------
def conformance() -> str | None:
    """The first scenario whose trace is not the expected one."""
    from tests.conformance import test_traces

    for name in test_traces.NAMES:
        try:
            test_traces.test_the_trace_is_that_of_the_real_erlang(name)
        except Exception:  # noqa: BLE001 - whatever a wrong core raises is a find
            return name
    return None


def model() -> str | None:
    """Whether a history comes out differently, and the first line of how."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    from tests.core import test_model

    histories = settings(
        max_examples=HISTORIES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )(given(st.data())(test_model.history))
    try:
        histories()
    except Exception as error:  # noqa: BLE001 - likewise
        return shorten(str(error).partition("\n")[0], WHERE_WIDTH) or type(error).__name__
    return None


def simulator() -> str | None:
    """The first seed that does not hold, and the first line of why."""
    from supervisord_ng.sim import run

    return _first_failure(run.play, SEEDS, STEPS)


def fleet() -> str | None:
    """Likewise, of several nodes."""
    from supervisord_ng.sim import fleet

    return _first_failure(fleet.play, FLEETS, FLEET_S)


def _first_failure(play: Callable[..., Outcome], seeds: int, length: int) -> str | None:
    for seed in range(seeds):
        outcome = play(seed, length, verbose=False)
        if outcome.verdict != "held":
            why = outcome.message.strip().splitlines()[-1]
            return f"seed {seed}, {outcome.verdict}: {shorten(why, WHERE_WIDTH)}"
    return None


CHECKS: dict[str, Callable[[], str | None]] = {
    "conformance": conformance,
    "model": model,
    "simulator": simulator,
    "fleet": fleet,
}


def plant(name: str, *, everything: bool) -> list[Find]:
    """Make the mistake in this process, and ask the checks in turn. For a process of its own."""
    mistake = MISTAKES.get(name, NONE)
    sys.meta_path.insert(0, Planter(mistake.changes))
    signal.signal(signal.SIGVTALRM, _too_long)
    finds: list[Find] = []
    for check in sorted(CHECKS, key=lambda check: check != mistake.first):
        signal.setitimer(signal.ITIMER_VIRTUAL, CHECK_S)
        try:
            where = CHECKS[check]()
        except CheckTimeoutError:
            where = "never ends"
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if where is not None:
            finds.append(Find(check, where))
            if not everything:
                break
    return finds


def _too_long(_: int, __: FrameType | None) -> None:
    raise CheckTimeoutError


# --- all of them ----------------------------------------------------------------------------------
def examine(names: Sequence[str], *, everything: bool = False) -> dict[str, list[Find]]:
    """Plant each mistake in a process of its own; who noticed."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        finds = pool.map(lambda name: _elsewhere(name, everything=everything), names)
        return dict(zip(names, finds, strict=True))


def _elsewhere(name: str, *, everything: bool) -> list[Find]:
    options = ["--all"] if everything else []
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.plant", "--here", *options, name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * len(CHECKS) * CHECK_S,
    )
    if done.returncode != 0:
        raise RuntimeError(f"cannot plant {name!r}: {done.stderr}")
    return [Find(*line.split("\t", 1)) for line in done.stdout.splitlines()]


def table(finds: dict[str, list[Find]]) -> str:
    """Who noticed what, for people."""
    width = max(len(name) for name in finds)
    lines = []
    for name, found in finds.items():
        noticed = "; ".join(f"{find.check} ({find.where})" for find in found) or "NOBODY"
        lines.append(f"{name:{width}}  {noticed}")
    return "\n".join(lines)


def main() -> None:
    """Plant the mistakes asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.core.plant")
    parser.add_argument("--all", action="store_true", help="ask every check")
    parser.add_argument("--here", action="store_true", help="in this process; for one mistake")
    parser.add_argument("names", nargs="*", metavar="NAME")
    chosen = parser.parse_args()
    if chosen.here:
        for find in plant(chosen.names[0], everything=chosen.all):
            sys.stdout.write(f"{find.check}\t{find.where}\n")
    else:
        finds = examine(chosen.names or [INTACT, *MISTAKES], everything=chosen.all)
        sys.stdout.write(f"{table(finds)}\n")


if __name__ == "__main__":
    main()
