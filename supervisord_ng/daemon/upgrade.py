"""``sng upgrade`` and SIGUSR2: the daemon becomes its new version, in place, and its workers run on.

First whatever the command line would start now is asked whether it can take over (`takeover`); if not, nothing
has happened. Then everything that has arrived is dealt with, everything that was decided goes to the journal,
and the process becomes the new program by exec(2): same pid, so that workers stay its children and the service
manager notices nothing. The new one goes on as after a crash, only that nothing was lost.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import TYPE_CHECKING, Any

import msgspec

from supervisord_ng import limits
from supervisord_ng.errors import EXIT_SOFTWARE, ControlError
from supervisord_ng.model.reports import EventName
from supervisord_ng.runtime import handover
from supervisord_ng.runtime.handover import Handover

if TYPE_CHECKING:
    from supervisord_ng.daemon.service import Daemon

_HINT = "nothing has changed: this daemon goes on"


class Upgrade:
    """Of one daemon.

    Args:
        daemon: that is to be replaced.
        inheritance: what the next one is handed.
        log: the daemon's own.
    """

    def __init__(self, daemon: Daemon, inheritance: Handover, log: Any) -> None:
        self._daemon = daemon
        self._inheritance = inheritance
        self._log = log
        self._under_way = False

    async def begin(self, who: str) -> str:
        """Check that it can be done, and do it as soon as this call has been answered.

        Returns:
            The version that takes over.

        Raises:
            ControlError: `refused`, with the reason.
        """
        if self._under_way or self._daemon.is_stopping:
            why = "is being upgraded already" if self._under_way else "is stopping"
            raise ControlError("refused", f"cannot upgrade: the daemon {why}")
        self._under_way = True
        try:
            version = await self._check()
        except BaseException:
            self._under_way = False
            raise
        self._daemon.feed.publish(EventName.UPGRADE, None, None, detail=f"{who}; to {version}")
        self._daemon.keep_task(asyncio.ensure_future(self._replace()))
        return version

    async def _check(self) -> str:
        """Ask what the command line would start now; return its version."""
        await self._daemon.operators.written()  # what it reads has to be what is
        command = handover.command("--check-takeover")
        told = await asyncio.to_thread(_ask, command, self._inheritance.environ)
        if isinstance(told, str):
            raise ControlError("refused", f"cannot upgrade: {told}", _HINT)
        node = self._daemon.tree.node
        for key, now in (("runtime_dir", node.runtime_dir), ("state_dir", node.state_dir)):
            if told[key] != now:
                words = f"cannot upgrade: {key} would be {told[key]}, it is {now}"
                raise ControlError("refused", words, _HINT)
        if not await self._daemon.workers.captures.flush():
            words = "cannot upgrade: the disk does not take the output of workers"
            raise ControlError("refused", words, _HINT)
        return told["version"]

    async def _replace(self) -> None:
        daemon = self._daemon
        await daemon.control.close()  # whoever asked has been answered by then
        if daemon.is_stopping:
            return
        # From here to the end nothing else runs in this process: what happens is the next one's to see.
        daemon.workers.drain()
        daemon.shell.close()
        if daemon.guard is not None:
            daemon.guard.close()
        daemon.neighbours.links.close()
        daemon.workers.detach()
        daemon.reporter.flush()
        daemon.ledger.turned(daemon.shell.state)
        lost = daemon.store.close(limits.STORE_CLOSE_TIMEOUT_S)
        if lost:
            self._log.error("reports were lost: the disk did not take them", reports=lost)
        try:
            self._inheritance.become_next(daemon.lock.descriptors)
        except OSError as error:
            # Workers run on, and the next daemon adopts them; nothing that is left here could supervise them.
            self._log.critical("cannot execute the new version", error=str(error))
            os._exit(EXIT_SOFTWARE)


def _ask(command: list[str], environ: dict[str, str]) -> dict[str, str] | str:
    """Run the check; what it told, or why it refuses, in words. Blocks for the time of a start."""
    try:
        answer = subprocess.run(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limits.UPGRADE_CHECK_S,
            check=False,  # the reaper may have come first, so what it said has to do
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    try:
        return msgspec.json.decode(answer.stdout, type=dict[str, str])
    except msgspec.MsgspecError:
        return answer.stderr.strip() or "the new version does not know how to take over"
