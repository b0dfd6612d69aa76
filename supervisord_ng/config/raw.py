"""The configuration as it stands in the file: every table, every key, its kind, default and meaning.

The one declaration that the rest reads: `tables` parses by it, messages list its keys, `schema` turns it into
a JSON Schema. A struct is a table, a field a key; ``Annotated[TYPE, KIND, "meaning"]`` says what the value
becomes, how it is read and what it is for. Defaults are in our
own units. Nothing here looks at two keys at once: that is `config.rules`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_type_hints

import msgspec

from supervisord_ng import limits
from supervisord_ng.config.kinds import (
    COMMAND,
    DURATION,
    INTENSITY,
    PATH,
    PERCENT,
    SHUTDOWN,
    SIGNAL,
    SIZE,
    SWITCH,
    TEXT,
    Kind,
    OpenTable,
    SubTable,
    array,
    number,
    pattern,
    whole,
    words,
)
from supervisord_ng.config.special import (
    ENDPOINT,
    ENVIRONMENT,
    GROUP,
    GROUPS,
    HOST_PORT,
    INHERIT,
    LIMIT_COUNT,
    LIMIT_SIZE,
    LIMIT_TIME,
    LISTEN,
    PUBLIC_KEY,
    READY,
    STREAM,
    UMASK,
    URL,
    USER,
)
from supervisord_ng.model import spec
from supervisord_ng.model.names import NAME_PATTERN, NAME_RULE
from supervisord_ng.model.spec import AutoShutdown, Restart, StartFailure, StopOrder, Strategy

_NAME = pattern(
    f"must be a name: {NAME_RULE}",
    f"(?=.{{1,{limits.NAME_LENGTH_MAX}}}$){NAME_PATTERN.pattern}",
)
_RESTART = words(
    Restart,
    {
        **dict.fromkeys(("always", "true", "yes", "on", "unless-stopped", "forever"), "permanent"),
        **dict.fromkeys(("on-failure", "unexpected", "on-abnormal", "on-crash"), "transient"),
        **dict.fromkeys(("no", "false", "never", "off", "none"), "temporary"),
    },
)
_COUNT_MAX = 2**31 - 1
_FACTOR_MAX = 1_000.0
_THRESHOLD_MIN = 1.0  # below, every tenth beat would be taken for a hang
_THRESHOLD_MAX = 1_000.0


REQUIRED = "required"
"""Marks a key that must be there; its default only fills the struct when it is not."""


class Table(msgspec.Struct, frozen=True):
    """The base of every table."""


class Heartbeat(Table, frozen=True):
    """`heartbeat` of a worker."""

    interval: Annotated[int, DURATION, "time between two beats"] = (
        limits.HEARTBEAT_INTERVAL_DEFAULT_NS
    )
    timeout: Annotated[int, DURATION, "silence after which the worker is hung"] = (
        limits.HEARTBEAT_TIMEOUT_DEFAULT_NS
    )
    detector: Annotated[
        Literal["timeout", "phi"], words(("timeout", "phi")), "how silence is judged"
    ] = "timeout"
    threshold: Annotated[
        float, number(_THRESHOLD_MIN, _THRESHOLD_MAX), "suspicion that is a hang, for phi"
    ] = limits.PHI_THRESHOLD_DEFAULT


class LinkHeartbeat(Table, frozen=True):
    """`heartbeat` of a link between nodes."""

    interval: Annotated[int, DURATION, "time between two beats"] = (
        limits.HEARTBEAT_INTERVAL_DEFAULT_NS
    )
    timeout: Annotated[int, DURATION, "silence after which the link is lost"] = (
        limits.HEARTBEAT_TIMEOUT_DEFAULT_NS
    )


class Liveness(Table, frozen=True):
    """`liveness` of a worker."""

    tcp: Annotated[str | None, HOST_PORT, "alive when this port accepts a connection"] = None
    http: Annotated[str | None, URL, "alive when this URL answers 200 to 399"] = None
    exec: Annotated[tuple[str, ...] | None, COMMAND, "alive when this command exits 0"] = None
    interval: Annotated[int, DURATION, "time between two probes"] = (
        limits.LIVENESS_INTERVAL_DEFAULT_NS
    )
    timeout: Annotated[int, DURATION, "time that one probe may take"] = (
        limits.LIVENESS_TIMEOUT_DEFAULT_NS
    )
    failures: Annotated[int, whole(1, 1_000), "failed probes in a row that are a crash"] = (
        limits.LIVENESS_FAILURES_DEFAULT
    )


class Backoff(Table, frozen=True):
    """`backoff` of a worker."""

    initial: Annotated[int, DURATION, "wait before the first restart"] = (
        limits.BACKOFF_INITIAL_DEFAULT_NS
    )
    max: Annotated[int, DURATION, "longest wait"] = limits.BACKOFF_MAX_DEFAULT_NS
    factor: Annotated[float, number(1, _FACTOR_MAX), "how much longer each further wait is"] = (
        limits.BACKOFF_FACTOR_DEFAULT
    )
    jitter: Annotated[float, number(0, 1), "part of a wait that chance adds or takes off"] = (
        limits.BACKOFF_JITTER_DEFAULT
    )
    reset_after: Annotated[int, DURATION, "a run this long starts over with `initial`"] = (
        limits.BACKOFF_RESET_AFTER_DEFAULT_NS
    )


class Limits(Table, frozen=True):
    """`limits` of a worker: setrlimit(2), soft and hard."""

    nofile: Annotated[int | None, LIMIT_COUNT, "open files"] = None
    nproc: Annotated[int | None, LIMIT_COUNT, "processes of the user"] = None
    core: Annotated[int | None, LIMIT_SIZE, "size of a core dump"] = None
    as_: Annotated[int | None, LIMIT_SIZE, "address space"] = msgspec.field(default=None, name="as")
    cpu: Annotated[int | None, LIMIT_TIME, "CPU time"] = None
    fsize: Annotated[int | None, LIMIT_SIZE, "size of a file that it writes"] = None
    memlock: Annotated[int | None, LIMIT_SIZE, "locked memory"] = None
    stack: Annotated[int | None, LIMIT_SIZE, "stack of the main thread"] = None


class Resources(Table, frozen=True):
    """`resources` of a worker: cgroup v2."""

    memory_max: Annotated[int | None, SIZE, "memory.max"] = None
    memory_high: Annotated[int | None, SIZE, "memory.high"] = None
    cpu_max: Annotated[float | None, PERCENT, "cpu.max; 200% is two CPUs"] = None
    pids_max: Annotated[int | None, whole(1, _COUNT_MAX), "pids.max"] = None
    optional: Annotated[bool, SWITCH, "start without limits where the host has none"] = False


class Log(Table, frozen=True):
    """`log` of a worker."""

    file: Annotated[str | None, PATH, "NAME.log; relative to log_dir"] = None
    max_bytes: Annotated[int, SIZE, "size at which the file is rotated; 0 for never"] = (
        limits.LOG_MAX_BYTES_DEFAULT
    )
    backups: Annotated[int, whole(0, limits.LOG_BACKUPS_MAX), "rotated files that are kept"] = (
        limits.LOG_BACKUPS_DEFAULT
    )
    format: Annotated[Literal["raw", "json"], words(("raw", "json")), "form of a line"] = "raw"
    timestamps: Annotated[bool, SWITCH, "put the time before each line"] = False


class Worker(Table, frozen=True):
    """[worker.NAME]: one program, or several instances of it."""

    command: Annotated[tuple[str, ...], COMMAND, "program and arguments; no shell", REQUIRED] = ()
    directory: Annotated[str | None, PATH, "working directory"] = None
    user: Annotated[str | int | None, USER, "runs as this user"] = None
    group: Annotated[str | int | None, GROUP, "runs in this group; the user's own"] = None
    groups: Annotated[
        tuple[str | int, ...] | None, GROUPS, "supplementary groups; the user's own"
    ] = None
    umask: Annotated[int, UMASK, "file mode creation mask"] = limits.UMASK_DEFAULT
    environment: Annotated[dict[str, str], ENVIRONMENT, "variables"] = {}
    environment_file: Annotated[str | None, PATH, "file of variables, in systemd's syntax"] = None
    inherit_environment: Annotated[
        bool | tuple[str, ...], INHERIT, "the daemon's variables: a few, all, or a few and these"
    ] = False
    autostart: Annotated[bool, SWITCH, "start with the tree"] = True
    instances: Annotated[
        int | None, whole(0, limits.INSTANCES_MAX), "children NAME@1 ... NAME@N instead of NAME"
    ] = None
    restart: Annotated[Restart, _RESTART, "always, after a crash, never"] = Restart.PERMANENT
    significant: Annotated[bool, SWITCH, "its end may end its supervisor: auto_shutdown"] = False
    shutdown: Annotated[spec.Shutdown, SHUTDOWN, "how long it may take to stop"] = (
        limits.SHUTDOWN_WORKER_DEFAULT_NS
    )
    stop_signal: Annotated[int, SIGNAL, "how it is asked to stop"] = 15
    stop_signal_to: Annotated[
        Literal["main", "all"],
        words(
            ("main", "all"),
            {"process": "main", "mixed": "main", "group": "all", "control-group": "all"},
        ),
        "who is asked first",
    ] = "main"
    success_exit_codes: Annotated[
        tuple[int, ...], array(whole(0, 255), "exit codes"), "normal ends, besides 0"
    ] = (0,)
    clean_signals: Annotated[
        tuple[int, ...], array(SIGNAL, "signals"), "death by one of these is a normal end"
    ] = ()
    ready: Annotated[spec.Ready, READY, "when it counts as started"] = spec.Ready()
    ready_timeout: Annotated[int, DURATION, "a start that takes longer has failed"] = (
        limits.READY_TIMEOUT_DEFAULT_NS
    )
    heartbeat: Annotated[Heartbeat | None, SubTable(Heartbeat), "silence is a crash"] = None
    liveness: Annotated[Liveness | None, SubTable(Liveness), "probes, for what cannot beat"] = None
    backoff: Annotated[Backoff | None, SubTable(Backoff), "restarts wait"] = None
    limits: Annotated[Limits, SubTable(Limits), "resource limits of each process"] = Limits()
    nice: Annotated[int | None, whole(-20, 19), "scheduling priority"] = None
    oom_score_adj: Annotated[int | None, whole(-1_000, 1_000), "how soon the kernel kills it"] = (
        None
    )
    resources: Annotated[Resources | None, SubTable(Resources), "limits of the whole worker"] = None
    no_new_privileges: Annotated[bool, SWITCH, "setuid programs gain nothing"] = False
    stdout: Annotated[str, STREAM, "where its output goes"] = "log"
    stderr: Annotated[str, STREAM, "where its errors go"] = "log"
    log: Annotated[Log, SubTable(Log), "the file of captured output"] = Log()


class Supervisor(Table, frozen=True):
    """[supervisor.NAME]: children that fail together."""

    children: Annotated[tuple[str, ...], array(TEXT, "names"), "in start order", REQUIRED] = ()
    strategy: Annotated[
        Strategy,
        words(
            Strategy, {"simple": "simple_one_for_one", "one": "one_for_one", "all": "one_for_all"}
        ),
        "who is restarted with a child",
    ] = Strategy.ONE_FOR_ONE
    intensity: Annotated[
        int | None, INTENSITY, "more restarts than this within `period`: give up"
    ] = limits.INTENSITY_DEFAULT
    period: Annotated[int, DURATION, "the time that `intensity` is about"] = (
        limits.PERIOD_DEFAULT_NS
    )
    auto_shutdown: Annotated[
        AutoShutdown,
        words(
            AutoShutdown,
            {"any": "any_significant", "all": "all_significant", "false": "never", "no": "never"},
        ),
        "ends when significant children did",
    ] = AutoShutdown.NEVER
    restart: Annotated[Restart, _RESTART, "always, after a crash, never"] = Restart.PERMANENT
    significant: Annotated[bool, SWITCH, "its end may end its supervisor: auto_shutdown"] = False
    shutdown: Annotated[spec.Shutdown, SHUTDOWN, "how long its children may take to stop"] = (
        spec.INFINITY
    )
    start_failure: Annotated[
        StartFailure, words(StartFailure), "what a failed start at boot means"
    ] = StartFailure.GIVE_UP
    stop_order: Annotated[StopOrder, words(StopOrder), "one after another, or all at once"] = (
        StopOrder.REVERSE
    )


class Remote(Table, frozen=True):
    """[remote.NAME]: the root supervisor of a node below."""

    public_key: Annotated[str, PUBLIC_KEY, "the node's; it binds the name", REQUIRED] = ""
    restart: Annotated[Restart, _RESTART, "always, after a crash, never"] = Restart.PERMANENT
    significant: Annotated[bool, SWITCH, "its end may end its supervisor: auto_shutdown"] = False
    heartbeat: Annotated[LinkHeartbeat, SubTable(LinkHeartbeat), "of the link"] = LinkHeartbeat()
    on_lost: Annotated[Literal["wait", "exit"], words(("wait", "exit")), "what silence means"] = (
        "wait"
    )


class Node(Table, frozen=True):
    """[node]: this node."""

    name: Annotated[str | None, _NAME, "the host's name"] = None
    runtime_dir: Annotated[str | None, PATH, "sockets and lock"] = None
    state_dir: Annotated[str | None, PATH, "journal and reports"] = None
    log_dir: Annotated[str | None, PATH, "state_dir/log"] = None
    control_group: Annotated[
        str | int | None, GROUP, "who may use the CLI, besides root and the daemon's user"
    ] = None
    listen: Annotated[str | None, LISTEN, "where nodes below connect"] = None
    secret_key_file: Annotated[str | None, PATH, "state_dir/node.key"] = None
    on_daemon_crash: Annotated[
        Literal["adopt", "kill"], words(("adopt", "kill")), "what the next daemon does with workers"
    ] = "adopt"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        words(
            ("debug", "info", "warning", "error"),
            {"warn": "warning", "trace": "debug", "critical": "error"},
        ),
        "of the daemon's own log",
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "console"],
        words(("auto", "json", "console"), {"text": "console"}),
        "of the daemon's own log",
    ] = "auto"


class Parent(Table, frozen=True):
    """[parent]: the node above this one."""

    endpoint: Annotated[str, ENDPOINT, "where it listens", REQUIRED] = ""
    public_key: Annotated[str, PUBLIC_KEY, "its key", REQUIRED] = ""
    on_partition: Annotated[
        Literal["continue", "stop"], words(("continue", "stop")), "what to do without it"
    ] = "continue"
    partition_timeout: Annotated[int, DURATION, "how long, for stop"] = (
        limits.PARTITION_TIMEOUT_DEFAULT_NS
    )
    heartbeat: Annotated[LinkHeartbeat, SubTable(LinkHeartbeat), "of the link"] = LinkHeartbeat()
    control: Annotated[bool, SWITCH, "its operators may act on this node"] = True


class Reports(Table, frozen=True):
    """[reports]: crash reports."""

    keep: Annotated[int, DURATION, "how long reports are kept"] = limits.REPORTS_KEEP_DEFAULT_NS
    max_count: Annotated[int, whole(1, limits.REPORTS_COUNT_MAX), "how many are kept"] = (
        limits.REPORTS_MAX_COUNT_DEFAULT
    )
    log_lines: Annotated[
        int, whole(0, limits.REPORT_LOG_LINES_MAX), "last lines of the worker's log in a report"
    ] = limits.REPORT_LOG_LINES_DEFAULT


class Key(msgspec.Struct, frozen=True):
    """One key of a table, as declared above."""

    name: str  # in the file
    attribute: str  # of the struct; differs where the name is a word of Python
    kind: Kind | SubTable | OpenTable
    meaning: str
    required: bool
    default: Any


SINGLE: Mapping[str, type[Table]] = {"node": Node, "parent": Parent, "reports": Reports}
NAMED: Mapping[str, type[Table]] = {"supervisor": Supervisor, "worker": Worker, "remote": Remote}
DEFAULTED = ("worker", "supervisor")  # may stand below [defaults]
INCLUDE = array(TEXT, "file patterns")
TOP_LEVEL = ("include", *SINGLE, "defaults", *NAMED)


@functools.cache
def keys_of(table: type) -> Mapping[str, Key]:
    """The keys of a table in the order of their declaration."""
    hints = get_type_hints(table, include_extras=True)
    keys = {}
    for field in msgspec.structs.fields(table):
        kind, meaning, *marks = hints[field.name].__metadata__
        default = field.default_factory() if callable(field.default_factory) else field.default
        keys[field.encode_name] = Key(
            field.encode_name, field.name, kind, meaning, REQUIRED in marks, default
        )
    return keys
