"""The plainest worker: one thread, one job after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jobs
from supervisord_ng import worker


def main() -> None:
    """Count until told to stop."""
    with worker.attach() as w:
        w.ready()
        for path in w.beating(arrivals(w)):  # a beat for each file; ends between two of them
            w.status(f"counting {path.name}")
            print(jobs.count(path), flush=True)


def arrivals(w: worker.Worker) -> Iterator[Path]:
    """Every file, as it comes."""
    while not w.stopping.is_set():
        yield from jobs.waiting()
        with w.idle():  # to wait for work is no hang
            w.stopping.wait(jobs.PAUSE_S)


if __name__ == "__main__":
    main()
