"""Warnings: what works as written, but hardly as meant. Only for configurations without a problem."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

from supervisord_ng.config import raw
from supervisord_ng.config.arrange import Children, Sections
from supervisord_ng.config.build import backoff_spec
from supervisord_ng.config.explain import plural, quoted
from supervisord_ng.config.kinds import SHUTDOWN
from supervisord_ng.config.places import Notes
from supervisord_ng.config.tables import Section
from supervisord_ng.config.units import format_duration
from supervisord_ng.limits import MS, SECOND
from supervisord_ng.model.names import ROOT
from supervisord_ng.model.spec import INFINITY, AutoShutdown, Backoff, Restart

_WAITS_SHOWN = 5


def advise(sections: Sections, children: Children, notes: Notes) -> None:
    """Find what should be pointed out about a tree that is right."""
    for name, supervisor in sections.supervisors.items():
        said = supervisor.said
        _about_supervisor(supervisor, said, notes)
        for child in children[name]:
            if worker := sections.workers.get(child):
                _about_restarts(worker, supervisor, said, notes)


def _about_supervisor(
    supervisor: Section[raw.Supervisor], said: raw.Supervisor, notes: Notes
) -> None:
    if not said.children:
        supervisor.warning(notes, "is empty: nothing runs below this supervisor", "children")
    if said.shutdown != INFINITY:
        shown = quoted(str(SHUTDOWN.write(said.shutdown)))
        text = "may kill its children in the middle of their own stop"
        hint = f"use {quoted(INFINITY)}: each child has a shutdown of its own"
        supervisor.warning(notes, f"{shown} {text} ({hint})", "shutdown")
    if supervisor.name == ROOT:
        _about_root(supervisor, notes)
    elif said.restart is Restart.TRANSIENT and said.auto_shutdown is AutoShutdown.NEVER:
        why = 'one that gives up ends with "shutdown", which is no crash'
        text = f'"transient" means that this supervisor stays down when it gives up: {why}'
        hint = 'with restart = "permanent" it is restarted'
        supervisor.warning(notes, f"{text} ({hint})", "restart")


def _about_root(root: Section[raw.Supervisor], notes: Notes) -> None:
    for key in ("restart", "significant"):
        place = root.place(key)
        if place != root.place() and place.path[0] != "defaults":
            text = "has no effect: there is no supervisor above the root of a node"
            root.warning(notes, text, key)


def _about_restarts(
    worker: Section[raw.Worker],
    supervisor: Section[raw.Supervisor],
    above: raw.Supervisor,
    notes: Notes,
) -> None:
    said = worker.said
    if said.restart is Restart.TEMPORARY:
        return
    if above.intensity is None:
        if said.backoff is None:
            text = (
                f'supervisor {quoted(supervisor.name)} has intensity "infinity" and this worker no'
            )
            text = f"{text} backoff: a crash loop would go on without pause and without end"
            worker.warning(notes, f"{text} (add backoff = {{}})")
    elif said.backoff is not None:
        arithmetic = unreachable(backoff_spec(said.backoff), above.intensity, above.period)
        if arithmetic is not None:
            name = quoted(supervisor.name)
            text = f"supervisor {name} can never give up on this worker: {arithmetic}"
            worker.warning(notes, text, "backoff")


@functools.lru_cache(maxsize=1024)
def unreachable(backoff: Backoff, intensity: int, period_ns: int) -> str | None:
    """The arithmetic of a backoff that keeps a worker, crashing alone, below the intensity for ever.

    A supervisor gives up at `intensity` + 1 crashes within `period`. Between two crashes lies at least one
    wait, so these crashes take at least the sum of `intensity` waits: the first ones, jitter taken off, or
    shorter rows of them, where it is quicker to run for `reset_after` and to begin again.

    Args:
        backoff: of the worker.
        intensity: of its supervisor.
        period_ns: of its supervisor, in nanoseconds.

    Returns:
        A clause for a person; None when the intensity can be reached.
    """
    span = least_span(backoff, intensity)
    if span <= period_ns:
        return None
    fits = _most_crashes(backoff, intensity, period_ns)
    shown = itertools.islice(_waits(backoff), min(intensity, _WAITS_SHOWN))
    dots = " ..." if intensity > _WAITS_SHOWN else ""
    row = f"{' + '.join(format_duration(_rounded(wait)) for wait in shown)}{dots}"
    jitter = f", less jitter {backoff.jitter:g}" if backoff.jitter else ""
    period = format_duration(period_ns)
    enough = quoted(format_duration(-(-span // SECOND) * SECOND))
    return (
        f"giving up takes {intensity + 1} crashes (intensity {intensity}) within {period}, but the waits "
        f"between them ({row}{jitter}) take at least {format_duration(_rounded(span))}; in {period} there is "
        f'room for {plural(fits, "crash")} (to retry for ever, write intensity = "infinity"; to give up, '
        f"shorten the waits or set period = {enough})"
    )


def _rounded(time_ns: int) -> int:
    return -(-time_ns // MS) * MS


def _waits(backoff: Backoff) -> Iterator[int]:
    """The waits in a row, without jitter: `initial`, each `factor` times as long, up to `max`."""
    wait = float(backoff.initial_ns)
    while True:
        yield round(min(wait, backoff.max_ns))
        wait = min(wait * backoff.factor, float(backoff.max_ns))


def least_span(backoff: Backoff, waits: int) -> int:
    """The shortest time, in nanoseconds, that so many waits can take."""
    shortest = (
        round(wait * (1 - backoff.jitter)) for wait in itertools.islice(_waits(backoff), waits)
    )
    sums = [0, *itertools.accumulate(shortest)]
    best = sums[waits]
    for rows in range(2, waits + 1):
        resets = (rows - 1) * backoff.reset_after_ns
        if resets >= best:
            break
        # Waits only grow, so rows of equal length are the shortest.
        length, longer = divmod(waits, rows)
        best = min(best, resets + (rows - longer) * sums[length] + longer * sums[length + 1])
    return best


def _most_crashes(backoff: Backoff, intensity: int, period_ns: int) -> int:
    low, high = 0, intensity  # so many waits fit, so many do not
    while high - low > 1:
        middle = (low + high) // 2
        if least_span(backoff, middle) <= period_ns:
            low = middle
        else:
            high = middle
    return low + 1
