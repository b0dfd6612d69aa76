"""What the naive model talks about: processes, child records, messages, and the world they live in."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from supervisord_ng.limits import SECOND
from supervisord_ng.model.exits import ExitReason
from supervisord_ng.model.spec import ChildSpec


@dataclass
class World:
    """What is outside of every supervisor. `None` among `failures` answers a start with `ignore`."""

    now: int = SECOND
    lines: list[str] = field(default_factory=list)
    numbers: Counter[str] = field(default_factory=Counter)
    failures: dict[str, deque[ExitReason | None]] = field(default_factory=dict)
    obeying: dict[str, ExitReason] = field(default_factory=dict)
    halted: bool = False

    def say(self, line: str) -> None:
        """Write down what happens."""
        self.lines.append(line)


class StartFailedError(Exception):
    """A start that came to nothing, and why."""

    def __init__(self, reason: ExitReason) -> None:
        super().__init__(reason.text)
        self.reason = reason


class Process:
    """A worker or supervisor that was started once. `reason` is None while it lives."""

    def __init__(self, world: World, spec: ChildSpec, path: str) -> None:
        self.world = world
        self.path = path
        self.spec = spec
        self.since = world.now
        self.reason: ExitReason | None = None
        self.told = False  # to end
        world.numbers[path] += 1
        self.name = f"{path}#{world.numbers[path]}"

    def ends(self, reason: ExitReason) -> None:
        """It is dead from now on."""
        self.reason = reason
        self.world.say(f"exit {self.name}: {reason.text}")


@dataclass(eq=False)
class Child:
    """A child record: OTP's `pid` is a pid, undefined (None), or with `restarting` {restarting, Pid}."""

    spec: ChildSpec
    path: str
    pid: Process | None = None
    restarting: bool = False
    tries: int = 0  # for the back-off, which OTP does not have
    due: int | None = None
    counted: bool = False

    @property
    def running(self) -> Process | None:
        """The process that the supervisor believes to run."""
        return None if self.restarting else self.pid

    @property
    def who(self) -> str:
        """The child as `offender` of a report."""
        who = f"{self.path} undefined" if self.pid is None else self.pid.name
        if not self.restarting:
            return who
        return f"{self.path} restarting(undefined)" if self.pid is None else f"restarting({who})"

    @property
    def listed(self) -> str:
        """The child in the answer of which_children."""
        if self.running is not None:
            return self.running.name
        return f"{self.path}:{'restarting' if self.restarting else 'undefined'}"

    def rests(self) -> None:
        """Nothing runs and nothing is going to."""
        self.pid, self.restarting, self.due, self.counted = None, False, None, False


@dataclass(frozen=True)
class Exit:
    """A child has died by itself."""

    process: Process


@dataclass(frozen=True)
class Retry:
    """{try_again_restart, Id}."""

    name: str


@dataclass(frozen=True)
class Stop:
    """The exit signal of the parent."""

    reason: ExitReason


@dataclass(frozen=True)
class Call:
    """A call of the API."""

    request: int
    op: str
    name: str
    spec: ChildSpec | None = None
    now: bool = False


Message = Exit | Retry | Stop | Call
