"""What the SDK costs a worker: its import, against bare Python, and a beat.

The import is measured by whole processes in turns, in CPU time, with and without `supervisord_ng.worker`, and
it is looked whether zmq came along. A beat is `w.beat()` of an attached worker, in a loop; beside it stands the
CPU time of the whole worker for each beat that its thread sends. Run: python -m benchmarks.sdk_cost [RUNS]
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.daemon.node import REPOSITORY
from tests.listening import Listening

BARE = "pass"
IMPORT = "import supervisord_ng.worker"
ZMQ = f"import sys; {IMPORT}; print('zmq' in sys.modules)"
BEATS = 1_000_000
SENT = 500

BEATING = f"""
import time
from supervisord_ng import worker
with worker.attach() as w:
    w.ready()
    begin = time.perf_counter()
    for _ in range({BEATS}):
        w.beat()
    called = (time.perf_counter() - begin) / {BEATS}
    time.sleep(1)  # the interval is known by now
    heart = w._heart
    before, cpu = heart._sequence, time.process_time()
    while heart._sequence - before < {SENT}:
        time.sleep(0.2)
    sent = (time.process_time() - cpu) / (heart._sequence - before)
print(called * 1e9, sent * 1e6)
"""


def milliseconds(program: str) -> float:
    """The CPU time that Python takes with this program, as a whole process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True, cwd=REPOSITORY)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def main() -> None:
    """Print both costs."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    for program in (BARE, IMPORT):
        milliseconds(program)  # compiled, and in the page cache
    pairs = [(milliseconds(BARE), milliseconds(IMPORT)) for _ in range(runs)]
    bare, with_sdk = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    told = [sys.executable, "-c", ZMQ]
    has_zmq = subprocess.run(told, check=True, cwd=REPOSITORY, capture_output=True, text=True)
    print(f"median of {runs}: bare Python {bare:.1f} ms, with the SDK {with_sdk:.1f} ms")
    differences = statistics.median(sdk - without for without, sdk in pairs)
    print(f"  import of the SDK {differences:.1f} ms; zmq imported: {has_zmq.stdout.strip()}")
    with (
        tempfile.TemporaryDirectory(prefix="sng-", dir="/tmp") as name,
        Listening(Path(name)) as daemon,
        daemon.start(BEATING, PYTHONPATH=os.pathsep.join(sys.path)) as worker,
    ):
        called, sent = (float(figure) for figure in worker.communicate()[0].split())
    print(f"  w.beat() {called:.0f} ns; a beat that is sent {sent:.1f} us of the worker's CPU")


if __name__ == "__main__":
    main()
