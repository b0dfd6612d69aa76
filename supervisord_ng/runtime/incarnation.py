"""What the runtime knows of one worker: its latest incarnation, and what all of its incarnations share."""

from __future__ import annotations

from supervisord_ng import limits
from supervisord_ng.core.effects import Spawn
from supervisord_ng.model import names
from supervisord_ng.model.remains import Remains
from supervisord_ng.model.spec import WorkerSpec
from supervisord_ng.runtime.logs import Capture
from supervisord_ng.runtime.readiness import Watch


class Record:
    """A worker's latest incarnation, and the log that all of its incarnations share."""

    __slots__ = (
        "capture",
        "incarnation",
        "main",
        "name",
        "path",
        "pid",
        "remains",
        "spec",
        "status",
        "token",
        "watch",
    )

    def __init__(self, path: str, capture: Capture) -> None:
        self.path = path
        self.name = names.leaf(path)
        self.capture = capture

    def begin(self, spawn: Spawn) -> None:
        """The next incarnation. Its `watch` is still to be made."""
        self.spec: WorkerSpec = spawn.spec
        self.incarnation = spawn.incarnation
        self.pid: int | None = None  # of its session, under which the reaper knows it
        self.main: int | None = None  # of its main process: the same, unless it was handed over
        self.token: str | None = None
        self.status: str | None = None  # the last line that it said of itself
        self.remains = Remains(spawn.path, spawn.incarnation)
        self.watch: Watch

    def identity(self, node: str, heartbeat_endpoint: str) -> dict[str, str]:
        """What every process that is started for this worker is told: whose it is.

        Args:
            node: the name of this node.
            heartbeat_endpoint: of this daemon; also the mark by which the next one knows what we left.
        """
        told = {
            "SNG_NAME": self.name,
            "SNG_PATH": self.path,
            "SNG_NODE": node,
            "SNG_HEARTBEAT": heartbeat_endpoint,
        }
        if self.spec.instance is not None:
            told["SNG_INSTANCE"] = str(self.spec.instance)
        return told

    def credentials(self, notify_path: str) -> dict[str, str]:
        """What only the worker itself is told: how to speak. See docs/worker-protocol.md."""
        assert self.token is not None
        told = {"SNG_TOKEN": self.token}
        heartbeat = self.spec.heartbeat
        if heartbeat is not None or self.spec.ready.kind == "notify":
            told["NOTIFY_SOCKET"] = notify_path
        if heartbeat is not None:
            told["WATCHDOG_USEC"] = str(heartbeat.timeout_ns // limits.US)
        return told
