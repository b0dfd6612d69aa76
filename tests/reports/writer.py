"""A process that stores reports without end and prints the id of each that is stored: to be killed.

python -m tests.reports.writer STORE
"""

from __future__ import annotations

import os
import sys
import time

from supervisord_ng.reports.build import IdSource
from tests.reports.samples import open_store, sample

WAITING_MAX = 2_000  # in memory, so that a commit holds many reports and none is dropped


def say(report_id: str) -> None:
    """Print an id at once, in one write."""
    os.write(1, f"{report_id}\n".encode())


def main(path: str) -> None:
    """Store and print until the end."""
    ids = IdSource()
    with open_store(path) as store:
        while True:
            report_id = ids.next(time.time_ns() // 1_000_000)
            store.append(
                sample(id=report_id, log_tail=("x" * 100,) * 10),
                done=say,
            )
            while store.counts.waiting > WAITING_MAX:
                time.sleep(0.001)


if __name__ == "__main__":
    main(sys.argv[1])
