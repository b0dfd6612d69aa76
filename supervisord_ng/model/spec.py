"""Child specifications: what the configuration says, as frozen values. See supervisor(3) for the words.

A tree is nested as the user wrote it: a `SupervisorSpec` holds its children in start order. Workers with
`instances` are expanded already: each instance is a `WorkerSpec` of its own. Times are nanoseconds (`_ns`),
sizes bytes. Nothing here validates: `config.check` has done so before one of these exists.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from supervisord_ng import limits

BRUTAL_KILL: Literal["brutal_kill"] = "brutal_kill"
INFINITY: Literal["infinity"] = "infinity"

Shutdown = int | Literal["brutal_kill", "infinity"]
"""OTP's shutdown: nanoseconds to wait after asking, or one of the two words."""


class Strategy(StrEnum):
    """Which siblings are restarted with a child. supervisor(3), "Supervision Principles"."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"
    SIMPLE_ONE_FOR_ONE = "simple_one_for_one"


class Restart(StrEnum):
    """When a child that ended is restarted: always, after a crash, never."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class AutoShutdown(StrEnum):
    """Whether a supervisor ends when its significant children did (OTP 24, EEP 56)."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class StartFailure(StrEnum):
    """What a failed start at boot means: OTP gives up; `retry` counts it as a restart."""

    GIVE_UP = "give_up"
    RETRY = "retry"


class StopOrder(StrEnum):
    """How a supervisor stops its children: OTP one after another in reverse start order, or all at once."""

    REVERSE = "reverse"
    PARALLEL = "parallel"


class Ready(msgspec.Struct, frozen=True):
    """When a started worker counts as started. `target` is what the kind needs, else None.

    exec: exec(2) succeeded · notify: sd_notify READY=1 · heartbeat: the SDK said ready · exit: ended normal ·
    tcp: "HOST:PORT" · http: a URL · command: argv · log: a regular expression · fd: a descriptor number.
    """

    kind: Literal["exec", "notify", "heartbeat", "exit", "tcp", "http", "command", "log", "fd"] = (
        "exec"
    )
    target: str | int | tuple[str, ...] | None = None


class Heartbeat(msgspec.Struct, frozen=True):
    """How often a worker beats and when its silence is a hang. Both in nanoseconds, interval < timeout."""

    interval_ns: int = limits.HEARTBEAT_INTERVAL_DEFAULT_NS
    timeout_ns: int = limits.HEARTBEAT_TIMEOUT_DEFAULT_NS
    detector: Literal["timeout", "phi"] = "timeout"
    threshold: float = limits.PHI_THRESHOLD_DEFAULT


class Liveness(msgspec.Struct, frozen=True):
    """A probe for programs that cannot beat; `failures` in a row are a crash."""

    probe: Ready  # of kind tcp, http or command
    interval_ns: int = limits.LIVENESS_INTERVAL_DEFAULT_NS
    timeout_ns: int = limits.LIVENESS_TIMEOUT_DEFAULT_NS
    failures: int = limits.LIVENESS_FAILURES_DEFAULT


class Backoff(msgspec.Struct, frozen=True):
    """How long a restart waits: initial * factor**n up to max, plus or minus the fraction `jitter`."""

    initial_ns: int = limits.BACKOFF_INITIAL_DEFAULT_NS
    max_ns: int = limits.BACKOFF_MAX_DEFAULT_NS
    factor: float = limits.BACKOFF_FACTOR_DEFAULT
    jitter: float = limits.BACKOFF_JITTER_DEFAULT
    reset_after_ns: int = limits.BACKOFF_RESET_AFTER_DEFAULT_NS


class LogSpec(msgspec.Struct, frozen=True):
    """Where and how captured output is kept. `file` is absolute; max_bytes 0 never rotates."""

    file: str
    max_bytes: int = limits.LOG_MAX_BYTES_DEFAULT
    backups: int = limits.LOG_BACKUPS_DEFAULT
    format: Literal["raw", "json"] = "raw"
    timestamps: bool = False


class Resources(msgspec.Struct, frozen=True):
    """cgroup v2 limits; None leaves one alone. `cpu_max` is a fraction of one CPU (0.5 is "50%")."""

    memory_max: int | None = None
    memory_high: int | None = None
    cpu_max: float | None = None
    pids_max: int | None = None
    optional: bool = False


class LaunchSpec(msgspec.Struct, frozen=True):
    """What exec needs: everything about a worker whose change needs a restart of it.

    `directory` is absolute or None (the daemon's own). `environment` is complete but for what the runtime
    adds (SNG_*, NOTIFY_SOCKET): the inherited selection, the file and the table are merged already.
    `user`, `group`, `groups` are numeric ids, resolved when the configuration was read. `stdout` and `stderr`
    are "log", "null", "inherit" or an absolute path.
    """

    command: tuple[str, ...]
    directory: str | None = None
    user: int | None = None
    group: int | None = None
    groups: tuple[int, ...] | None = None
    umask: int = limits.UMASK_DEFAULT
    environment: dict[str, str] = {}
    limits: dict[str, int] = {}
    nice: int | None = None
    oom_score_adj: int | None = None
    resources: Resources | None = None
    no_new_privileges: bool = False
    stdout: str = "log"
    stderr: str = "log"


class WorkerSpec(msgspec.Struct, frozen=True, tag="worker"):
    """One worker process. `instance` is its number (1..N) when the configuration asked for `instances`."""

    name: str
    launch: LaunchSpec
    log: LogSpec
    instance: int | None = None
    autostart: bool = True
    restart: Restart = Restart.PERMANENT
    significant: bool = False
    shutdown: Shutdown = limits.SHUTDOWN_WORKER_DEFAULT_NS
    stop_signal: int = 15
    stop_signal_to: Literal["main", "all"] = "main"
    success_exit_codes: tuple[int, ...] = (0,)
    clean_signals: tuple[int, ...] = ()
    ready: Ready = Ready()
    ready_timeout_ns: int = limits.READY_TIMEOUT_DEFAULT_NS
    heartbeat: Heartbeat | None = None
    liveness: Liveness | None = None
    backoff: Backoff | None = None


class RemoteSpec(msgspec.Struct, frozen=True, tag="remote"):
    """The root supervisor of a node below this one."""

    name: str
    public_key: str
    restart: Restart = Restart.PERMANENT
    significant: bool = False
    heartbeat: Heartbeat = Heartbeat()
    on_lost: Literal["wait", "exit"] = "wait"
    shutdown: Shutdown = INFINITY


class SupervisorSpec(msgspec.Struct, frozen=True, tag="supervisor"):
    """A supervisor and its children in start order. `intensity` None is "infinity".

    `scaled` are workers among them of which an operator wants another number of instances than the file: name,
    the file's number, the operator's.
    """

    name: str
    children: tuple[WorkerSpec | SupervisorSpec | RemoteSpec, ...] = ()
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int | None = limits.INTENSITY_DEFAULT
    period_ns: int = limits.PERIOD_DEFAULT_NS
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    restart: Restart = Restart.PERMANENT
    significant: bool = False
    shutdown: Shutdown = INFINITY
    start_failure: StartFailure = StartFailure.GIVE_UP
    stop_order: StopOrder = StopOrder.REVERSE
    scaled: tuple[tuple[str, int, int], ...] = ()


ChildSpec = WorkerSpec | SupervisorSpec | RemoteSpec


class NodeSpec(msgspec.Struct, frozen=True):
    """This node. Directories are absolute."""

    name: str
    runtime_dir: str
    state_dir: str
    log_dir: str
    secret_key_file: str
    control_group: int | None = None
    listen: str | None = None
    on_daemon_crash: Literal["adopt", "kill"] = "adopt"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"


class ParentSpec(msgspec.Struct, frozen=True):
    """The node above this one."""

    endpoint: str
    public_key: str
    on_partition: Literal["continue", "stop"] = "continue"
    partition_timeout_ns: int = limits.PARTITION_TIMEOUT_DEFAULT_NS
    heartbeat: Heartbeat = Heartbeat()
    control: bool = True


class ReportsSpec(msgspec.Struct, frozen=True):
    """How many crash reports are kept and for how long."""

    keep_ns: int = limits.REPORTS_KEEP_DEFAULT_NS
    max_count: int = limits.REPORTS_MAX_COUNT_DEFAULT
    log_lines: int = limits.REPORT_LOG_LINES_DEFAULT


class Scalable(msgspec.Struct, frozen=True):
    """A worker with `instances`, of which there may be more or less at run time.

    `supervisor` is the path of its supervisor, whose children the file lists as `siblings`. `template` is the
    worker without a number, `count` what the file says. `shares` names a key that says where its output
    goes, if all instances would share that file.
    """

    supervisor: str
    siblings: tuple[str, ...]
    template: WorkerSpec
    count: int
    shares: str | None = None


class TreeSpec(msgspec.Struct, frozen=True):
    """Everything that one configuration file says. `source` is its absolute path."""

    node: NodeSpec
    root: SupervisorSpec
    parent: ParentSpec | None = None
    reports: ReportsSpec = ReportsSpec()
    source: str = ""
    scalable: dict[str, Scalable] = {}  # by name of the worker
