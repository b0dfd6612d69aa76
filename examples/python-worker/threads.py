"""Several jobs at a time in a pool of threads, with results in the order of the jobs.

The order is what makes a single stuck thread visible. If any of them could beat for all, three would go on
beating for the fourth; so the main thread beats, and it waits for the oldest job.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import jobs
from supervisord_ng import worker

THREADS = 4


def main() -> None:
    """Count until told to stop."""
    with worker.attach() as w, ThreadPoolExecutor(THREADS) as pool:
        w.ready()
        while not w.stopping.is_set():
            w.beat()  # from the first one on the work has to move
            # What a job raises is raised here, ends the worker, and is in its crash report.
            for result in w.beating(pool.map(jobs.count, jobs.waiting())):
                print(result, flush=True)
            with w.idle():
                w.stopping.wait(jobs.PAUSE_S)


if __name__ == "__main__":
    main()
