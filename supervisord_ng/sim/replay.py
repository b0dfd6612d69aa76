"""Lives a flight record again: ``python -m supervisord_ng.sim.replay FILE [-v]``.

The record is what a daemon wrote when it failed, or ``sng events --record FILE``. Every event goes through the
core once more, at the time at which it happened, and what comes of it must be what came of it then: the same
state, or the same failure.

Exit status: 0 it was the same; 1 it was not; 2 FILE is no record that can be replayed.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import msgspec

import supervisord_ng
from supervisord_ng import limits
from supervisord_ng.core import machine
from supervisord_ng.core.flight import Flight, UnreadableError, read
from supervisord_ng.core.state import NodeState
from supervisord_ng.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from supervisord_ng.sim.trace import describe


def main(arguments: list[str]) -> int:
    """Replay the file named and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m supervisord_ng.sim.replay", description="Replay a flight record."
    )
    parser.add_argument("file", metavar="FILE", help="the record")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every step")
    chosen = parser.parse_args(arguments)
    try:
        with open(chosen.file, "rb") as file:
            flight = read(file)
    except (OSError, UnreadableError) as error:
        print(f"cannot replay {chosen.file}: {error}", file=sys.stderr)
        return EXIT_USAGE
    _introduce(flight)
    return replay(flight, verbose=chosen.verbose)


def replay(flight: Flight, *, verbose: bool) -> int:
    """Live a flight again, compare its end, and return the exit status."""
    state = flight.start
    recorded = flight.header.failure
    for number, moment in enumerate(flight.moments, 1):
        since_ns = moment.now - flight.moments[0].now
        if verbose:
            print(f"{number} +{since_ns / limits.SECOND:.6f}s {describe(moment.event)}")
        try:
            state, asked = machine.step(state, moment.event, moment.now)
        except Exception as error:  # noqa: BLE001 - whatever the core raises is what is looked for
            return _failed(flight, number, error)
        if verbose:
            for effect in asked:
                print(f"    {describe(effect)}")
    if recorded is not None:
        print(f"the daemon failed with {recorded.type}: {recorded.message}")
        print(recorded.traceback, end="")
        print("this does not fail here; it was not the core, or the core has changed since")
    different = first_difference(_plain(flight.end), _plain(state))
    if different is not None:
        print(f"not the same state: {different}")
        return EXIT_FAILED
    print(f"same state after {len(flight.moments)} events")
    return EXIT_OK if recorded is None else EXIT_FAILED


def first_difference(recorded: Any, replayed: Any, where: str = "state") -> str | None:
    """Where two documents differ first, and in what; None when they are the same, order included."""
    if isinstance(recorded, dict) and isinstance(replayed, dict):
        if list(recorded) != list(replayed):
            return f"{where} has {_keys(recorded)}, replayed {_keys(replayed)}"
        pairs: Iterator[tuple[str, Any, Any]] = (
            (f"{where}.{key}", part, replayed[key]) for key, part in recorded.items()
        )
    elif isinstance(recorded, list | tuple) and isinstance(replayed, list | tuple):
        if len(recorded) != len(replayed):
            return f"{where} is {list(recorded)}, replayed {list(replayed)}"
        pairs = (
            (f"{where}[{at}]", *both)
            for at, both in enumerate(zip(recorded, replayed, strict=True))
        )
    else:
        return None if recorded == replayed else f"{where} is {recorded!r}, replayed {replayed!r}"
    for place, one, other in pairs:
        different = first_difference(one, other, place)
        if different is not None:
            return different
    return None


def _introduce(flight: Flight) -> None:
    header = flight.header
    span_ns = flight.moments[-1].now - flight.moments[0].now if flight.moments else 0
    print(
        f"node {header.node}, supervisord-ng {header.package}:"
        f" {header.events} events in {span_ns / limits.SECOND:.3f} s"
    )
    if header.package != supervisord_ng.__version__:
        print(f"replayed by {supervisord_ng.__version__}, which may decide differently")


def _failed(flight: Flight, number: int, error: Exception) -> int:
    """The core has raised: say whether that is what the record is about."""
    traceback.print_exception(error, file=sys.stdout)
    recorded = flight.header.failure
    what = f"{type(error).__name__}: {error}"
    at = f"event {number} of {len(flight.moments)}"
    if recorded is None:
        print(f"not the same: fails at {at}, and the daemon did not: {what}")
        return EXIT_FAILED
    told = f"{recorded.type}: {recorded.message}"
    if number < len(flight.moments) or told != what:
        print(f"not the same failure: at {at}: {what}; the daemon failed at the last one: {told}")
        return EXIT_FAILED
    print(f"same failure at {at}: {what}")
    return EXIT_OK


def _plain(state: NodeState) -> Any:
    return msgspec.to_builtins(state)


def _keys(document: dict[str, Any]) -> str:
    return f"({', '.join(map(str, document))})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
