"""What the words of other programs are called here: supervisord, systemd, circus, compose, OTP, Kubernetes.

Only ever used to explain an unknown key, never to accept one. Words are compared without case, '-' and '_'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from supervisord_ng.config import raw
from supervisord_ng.config.explain import any_of, did_you_mean, normal, quoted
from supervisord_ng.config.kinds import SubTable

_COMMAND = 'did you mean "command"?'
_INSTANCES = 'did you mean "instances"?'
_DIRECTORY = 'did you mean "directory"?'
_ENVIRONMENT = 'did you mean "environment"?'
_RESTART = 'did you mean restart = "permanent", "transient" or "temporary"?'
_SHUTDOWN = 'did you mean shutdown, the time to stop in, such as "10s"?'
_STOP_TO = 'did you mean stop_signal_to = "all"? What a worker leaves behind is always ended'
_LOG = "did you mean log = { file, max_bytes, backups }?"
_INTENSITY = "did you mean intensity, a key of [supervisor.NAME]?"
_PERIOD = "did you mean period, a key of [supervisor.NAME]?"
_BACKOFF = "did you mean backoff = { initial, max, factor, jitter, reset_after }?"
_ORDER = (
    "children start in the order of their supervisor's children, each when the one before is ready"
)
_READY = 'did you mean ready, such as ready = "notify"?'
_LIVENESS = "did you mean liveness = { http, interval, timeout, failures }?"
_LIMITS = "did you mean limits = { nofile, nproc, core, ... }?"
_RESOURCES = "did you mean resources = { memory_max, cpu_max, pids_max }?"
_WORKER_TABLE = "did you mean [worker.NAME]?"
_SUPERVISOR_TABLE = "did you mean [supervisor.NAME]?"


def _table(*rows: tuple[str, str]) -> Mapping[str, str]:
    """Rows of (words separated by blanks, hint)."""
    explained = [(normal(word), hint) for words, hint in rows for word in words.split()]
    table = dict(explained)
    assert len(table) == len(explained), "a word is explained twice"
    return table


_FOREIGN: Mapping[str, Mapping[str, str]] = {
    "worker": _table(
        ("cmd exec exec_start run program args argv entrypoint script", _COMMAND),
        ("numprocs numprocesses replicas count scale processes num_instances", _INSTANCES),
        ("cwd dir chdir working_dir working_directory workdir", _DIRECTORY),
        ("env environ envs vars variables", _ENVIRONMENT),
        ("env_file dotenv", 'did you mean "environment_file"?'),
        (
            "inherit_env copy_env copy_path pass_environment pass_env keep_env clear_env",
            'did you mean "inherit_environment"?',
        ),
        ("autorestart restart_policy restart_type respawn restart_mode", _RESTART),
        ("enable enabled start_on_boot", 'did you mean "autostart"?'),
        ("uid username run_as run_as_user", 'did you mean "user"?'),
        ("gid groupname", 'did you mean "group"?'),
        ("supplementary_groups extra_groups", 'did you mean "groups"?'),
        (
            "stopwaitsecs timeout_stop_sec graceful_timeout kill_timeout stop_timeout",
            _SHUTDOWN,
        ),
        ("stop_grace_period kill_delay timeout_sec", _SHUTDOWN),
        ("stopsignal kill_signal term_signal signal", 'did you mean "stop_signal"?'),
        ("stopasgroup killasgroup kill_mode kill_group stop_children treekill", _STOP_TO),
        (
            "exit_codes success_exit_status successful_exit_code success_codes stop_exit_codes",
            'did you mean "success_exit_codes"?',
        ),
        ("logfile stdout_logfile stdout_logfile_maxbytes stdout_logfile_backups", _LOG),
        ("stderr_logfile stderr_logfile_maxbytes stderr_logfile_backups logging", _LOG),
        ("standard_output stdout_stream stdout_file", 'did you mean "stdout"?'),
        ("standard_error stderr_stream stderr_file", 'did you mean "stderr"?'),
        ("redirect_stderr", "stdout and stderr share one log unless stderr says otherwise"),
        (
            "max_restarts max_retries max_retry startretries retries max_r start_limit_burst",
            _INTENSITY,
        ),
        ("max_seconds window start_limit_interval_sec start_limit_interval", _PERIOD),
        ("restart_sec restart_delay restart_steps restart_max_delay_sec retry_in delay", _BACKOFF),
        ("backoff_seconds backoff_delay backoff_limit exp_backoff_restart_delay", _BACKOFF),
        ("priority order after before depends_on depends requires wants start_after", _ORDER),
        ("type wait_ready readiness readiness_probe startsecs warmup_delay", _READY),
        (
            "timeout_start_sec start_timeout listen_timeout startup_timeout",
            'did you mean "ready_timeout"?',
        ),
        ("watchdog watchdog_sec", "did you mean heartbeat = { interval, timeout }?"),
        ("healthcheck healthiness liveness_probe probe check", _LIVENESS),
        ("rlimit rlimits ulimit ulimits limit_nofile limit_nproc limit_core", _LIMITS),
        ("memory_limit mem_limit memory cpu_limit cpu_quota tasks_max cgroup deploy", _RESOURCES),
        ("name process_name", "the name stands in the header, [worker.NAME]"),
        ("shell", 'write command = ["sh", "-c", "..."] where a shell is wanted'),
        (
            "programs children",
            "did you mean [supervisor.NAME]? A worker has no children",
        ),
    ),
    "supervisor": _table(
        (
            "max_restarts max_retries max_retry startretries max_r start_limit_burst",
            'did you mean "intensity"?',
        ),
        ("max_seconds max_t window start_limit_interval_sec interval", 'did you mean "period"?'),
        ("programs workers members child specs processes services", 'did you mean "children"?'),
        ("restart_strategy policy type", 'did you mean "strategy"?'),
        ("autorestart restart_type", _RESTART),
    ),
    "node": _table(
        ("hostname host id identifier node_name", 'did you mean "name"?'),
        ("rundir runtime_directory socket_dir pidfile", 'did you mean "runtime_dir"?'),
        ("state_directory data_dir", 'did you mean "state_dir"?'),
        ("log_directory childlogdir logs_dir", 'did you mean "log_dir"?'),
        ("level verbosity", 'did you mean "log_level"?'),
        ("group socket_group chown", 'did you mean "control_group"?'),
        ("endpoint bind address", 'did you mean "listen"?'),
    ),
    "": _table(
        (
            "program programs watcher watchers service services workers process processes",
            _WORKER_TABLE,
        ),
        ("supervisors group groups pool", _SUPERVISOR_TABLE),
        ("supervisord supervisord_ng daemon circus nodes", "did you mean [node]?"),
        ("default", "did you mean [defaults.worker] or [defaults.supervisor]?"),
        ("remotes", "did you mean [remote.NAME]?"),
        ("includes import imports", 'did you mean include = ["conf.d/*.toml"]?'),
        ("tree children", "did you mean [supervisor.root]?"),
    ),
    "worker.backoff": _table(
        ("min delay base start", 'did you mean "initial"?'),
        ("limit maximum cap max_delay", 'did you mean "max"?'),
        ("multiplier exponent", 'did you mean "factor"?'),
        ("reset", 'did you mean "reset_after"?'),
    ),
    "worker.log": _table(
        ("path filename name", 'did you mean "file"?'),
        ("maxbytes size max_size rotate_size", 'did you mean "max_bytes"?'),
        ("backup_count keep count max_files", 'did you mean "backups"?'),
    ),
}


def unknown_key(scope: str, key: str, legal: Iterable[str]) -> str:
    """Why a key is refused that its table does not have, and what was probably meant.

    Args:
        scope: the table by its place in the schema: "worker", "worker.backoff", "" for the top level.
        key: the key as written.
        legal: the keys that the table has.

    Returns:
        The second half of a message, behind the key and a colon.
    """
    known = list(legal)
    kind = "table or key" if not scope else "key"
    hint = (
        _exact(key, known)
        or _FOREIGN.get(scope, {}).get(normal(key))
        or _elsewhere(scope, key)
        or did_you_mean(key, known)
    )
    text = f"cannot be set: no such {kind}{_of(scope)}"
    return f"{text} ({hint})" if hint else f"{text}, only {', '.join(known)}"


def _exact(key: str, known: list[str]) -> str | None:
    same = [word for word in known if normal(word) == normal(key)]
    return f"did you mean {quoted(same[0])}?" if same else None


def _of(scope: str) -> str:
    return f" in {table_title(scope)}" if scope else ""


def table_title(scope: str) -> str:
    """A table as one speaks of it: "[worker.NAME]", "[node]", "heartbeat of a worker"."""
    table, _, inner = scope.partition(".")
    if inner:
        return f"{inner} of a {table}"
    return f"[{table}.NAME]" if table in raw.NAMED else f"[{table}]"


def _elsewhere(scope: str, key: str) -> str | None:
    """The tables that do have this key: one inside of this table, or another one altogether."""
    inside, homes = [], []
    for table, struct in {**raw.SINGLE, **raw.NAMED}.items():
        keys = raw.keys_of(struct)
        if key in keys and table != scope:
            homes.append(table_title(table))
        if scope in (table, *(f"{table}.{name}" for name in keys)):
            inside += [
                f"{name}.{key}"
                for name, inner in keys.items()
                if isinstance(inner.kind, SubTable) and key in raw.keys_of(inner.kind.struct)
            ]
    if inside:
        return f"did you mean {any_of(inside)}?"
    return f"{key} is a key of {' and '.join(homes)}" if homes else None
