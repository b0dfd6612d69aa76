"""Many jobs at a time in an event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import jobs
from supervisord_ng import worker


async def main() -> None:
    """Count until told to stop."""
    async with worker.attach_async() as w:
        stopping = asyncio.create_task(w.wait_stopping())
        w.ready()
        while not stopping.done():
            w.beat()  # from the first one on the work has to move
            # Who waits for ever keeps the group from ending: then nothing moves, and that is seen.
            async with asyncio.TaskGroup() as group:
                for path in jobs.waiting():
                    group.create_task(count(w, path))
            with w.idle():
                await asyncio.wait([stopping], timeout=jobs.PAUSE_S)


async def count(w: worker.Worker, path: Path) -> None:
    """One job; its end is progress."""
    print(await jobs.count_slowly(path), flush=True)
    w.beat()


if __name__ == "__main__":
    asyncio.run(main())
