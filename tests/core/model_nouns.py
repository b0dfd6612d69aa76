"""What the naive model talks about: processes, child records, messages, and the world they live in."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from supervisord_ng.limits import DUMP_WAIT_NS, SECOND
from supervisord_ng.model.exits import (
    HEARTBEAT_TIMEOUT,
    SIGKILL,
    ExitClass,
    ExitReason,
    ExitStatus,
    status_text,
)
from supervisord_ng.model.spec import ChildSpec, Restart, WorkerSpec

End = ExitReason | ExitStatus


@dataclass
class World:
    """What is outside of every supervisor. `None` among `failures` answers a start with `ignore`."""

    now: int = SECOND
    lines: list[str] = field(default_factory=list)
    numbers: Counter[str] = field(default_factory=Counter)
    failures: dict[str, deque[ExitReason | None]] = field(default_factory=dict)
    obeying: dict[str, End] = field(default_factory=dict)
    mute: set[str] = field(default_factory=set)

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
        self.cause: ExitReason | None = None  # why it is dying, whatever the kernel will say
        self.silent: int | None = None  # when its silence is going to be too long
        world.numbers[path] += 1
        self.name = f"{path}#{world.numbers[path]}"

    def ends(self, how: End) -> None:
        """It is dead from now on."""
        reason = judged(self.spec, how, asked=self.told)
        self.world.say(f"exit {self.name}: {reason.text}")
        self.reason = self.cause or reason

    def obeys(self) -> None:
        """It has been asked to end."""
        assert isinstance(self.spec, WorkerSpec)
        self.ends(self.world.obeying.get(self.path, ExitStatus(signal=self.spec.stop_signal)))

    def hangs(self) -> None:
        """It beats no more."""
        assert isinstance(self.spec, WorkerSpec)
        assert self.spec.heartbeat is not None
        self.silent = self.world.now + self.spec.heartbeat.timeout_ns

    def is_silent(self) -> None:
        """It hangs: its stacks are collected, as long as that may take, then it is killed."""
        if self.cause is None:
            self.cause = HEARTBEAT_TIMEOUT
            self.world.say(f"dump {self.name}")
            if self.path in self.world.mute:
                self.silent = self.world.now + DUMP_WAIT_NS
                return
        self.silent = None
        self.world.say(f"kill {self.name}")
        self.is_killed()

    def is_killed(self) -> None:
        """SIGKILL was sent to it."""
        self.ends(ExitStatus(signal=SIGKILL))


def judged(spec: ChildSpec, how: End, *, asked: bool) -> ExitReason:
    """The kernel's word about the end of a worker as a reason of OTP."""
    if isinstance(how, ExitReason):
        return how
    assert isinstance(spec, WorkerSpec)
    text = status_text(how)
    well = how.code == 0 or how.code in spec.success_exit_codes
    obedient = how.signal == spec.stop_signal or how.code == 128 + spec.stop_signal
    if asked and (well or obedient):
        return ExitReason(ExitClass.SHUTDOWN, text)
    if well or how.signal in spec.clean_signals:
        return ExitReason(ExitClass.NORMAL, text)
    return ExitReason(ExitClass.KILLED if how.signal == SIGKILL else ExitClass.ABNORMAL, text)


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

    def bad_end(self) -> ExitReason | None:
        """shutdown/1: the reason why a stopped child ended, unless it was the one that was wanted."""
        assert self.running is not None
        reason = self.running.reason
        assert reason is not None
        brutal = self.spec.shutdown == "brutal_kill"
        if reason.kind is (ExitClass.KILLED if brutal else ExitClass.SHUTDOWN):
            return None
        soft = (ExitClass.NORMAL, ExitClass.SHUTDOWN, ExitClass.SHUTDOWN_TERM)
        if reason.kind in soft and self.spec.restart is not Restart.PERMANENT:
            return None
        return reason

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
