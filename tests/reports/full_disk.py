"""What a store does on a disk that is full, told as JSON. Runs alone in a mount namespace of its own.

python -m tests.reports.full_disk DIRECTORY (of a small file system)
"""

from __future__ import annotations

import json
import os
import sys
from typing import BinaryIO

import pytest

from supervisord_ng import limits
from supervisord_ng.reports.reader import Reader
from supervisord_ng.reports.store import Store
from tests.reports.samples import open_store, sample
from tests.support import eventually

COUNT = 300  # reports of 10 KiB: more than the pages that the store has in hand
FEW = 100


def fill(path: str) -> None:
    """Write a file until there is no space left, to the last byte."""
    with open(path, "wb", buffering=0) as file:
        for size in (65536, 1):
            with pytest.raises(OSError, match="No space left on device"):
                write_for_ever(file, b"\0" * size)


def write_for_ever(file: BinaryIO, block: bytes) -> None:
    """Write a block again and again, until something refuses."""
    while True:
        file.write(block)


def append(store: Store, count: int, stored: list[str]) -> list[str]:
    """Append reports; return their ids."""
    reports = [sample(log_tail=("x" * 1024,) * 10) for _ in range(count)]
    for report in reports:
        store.append(report, done=stored.append)
    return [report.id for report in reports]


def main(directory: str) -> None:
    """Fill the disk under a store, then before a store, and make space again each time."""
    limits.STORE_RETRY_MAX_S = limits.STORE_RETRY_S = 0.02
    path, filler = f"{directory}/store.sqlite3", f"{directory}/filler"
    problems: list[str] = []
    stored: list[str] = []
    story: dict[str, object] = {}

    with open_store(path, on_problem=problems.append) as store:
        ids = append(store, FEW, stored)
        store.save_incarnations({"root/a": 7})
        eventually(lambda: len(stored) == FEW, "stored while there is space")
        fill(filler)
        ids += append(store, COUNT, stored)
        eventually(lambda: problems, "the disk is full")
        story["full"] = [store.counts.dropped, store.counts.waiting > 0]
        os.unlink(filler)
        eventually(lambda: store.counts.waiting == 0, "stored again")
        eventually(lambda: len(problems) == 2, "said so")
        story["problems"] = [problem.partition(":")[0] for problem in problems]
    story["all there once"] = ids == [report.id for report in reversed(Reader(path).newest())]
    story["all acknowledged once"] = ids == stored

    fill(filler)
    problems.clear()
    with open_store(path, on_problem=problems.append) as store:
        story["numbers known on a full disk"] = store.load_incarnations()
        limits.REPORTS_WAITING_MAX, limits.STORE_BATCH_MAX = FEW, FEW // 2
        late = append(store, COUNT, stored)
        eventually(lambda: problems, "the disk is full")
        story["bounded"] = store.counts.waiting <= FEW
        os.unlink(filler)
        eventually(lambda: store.counts.waiting == 0, "stored again")
        counts = store.counts
        story["none unaccounted"] = counts.stored + counts.dropped == len(ids) + len(late)
    newest = [report.id for report in Reader(path).newest()]
    story["newest kept"] = late[-1] == newest[0]
    story["loss on disk"] = Reader(path).stats().dropped == counts.dropped

    sys.stdout.write(json.dumps(story))


if __name__ == "__main__":
    main(sys.argv[1])
