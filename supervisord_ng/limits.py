"""Every default and every bound, one line each, with unit and reason; their relations are asserted below.

Knows nothing of the house. A time is in nanoseconds unless its name ends otherwise, a size in bytes.
"""

from __future__ import annotations

US = 1_000
MS = 1_000_000
SECOND = 1_000_000_000
KIB = 1024
MIB = 1024 * 1024

# --- defaults of the configuration (shared with the reference documentation) -------------------------------
INTENSITY_DEFAULT = 5  # restarts per period; systemd's start limit (OTP's 1 in 5 s is for threads of a VM)
PERIOD_DEFAULT_NS = 10 * SECOND  # systemd's StartLimitIntervalSec
SHUTDOWN_WORKER_DEFAULT_NS = 5 * SECOND  # OTP's 5000 ms for type worker
READY_TIMEOUT_DEFAULT_NS = 30 * SECOND  # OTP would wait for ever
HEARTBEAT_INTERVAL_DEFAULT_NS = 1 * SECOND
HEARTBEAT_TIMEOUT_DEFAULT_NS = 5 * SECOND  # five beats may be lost
PHI_THRESHOLD_DEFAULT = 8.0  # Akka's cluster default
LIVENESS_INTERVAL_DEFAULT_NS = 10 * SECOND
LIVENESS_TIMEOUT_DEFAULT_NS = 1 * SECOND
LIVENESS_FAILURES_DEFAULT = 3
BACKOFF_INITIAL_DEFAULT_NS = 100 * MS
BACKOFF_MAX_DEFAULT_NS = 30 * SECOND
BACKOFF_FACTOR_DEFAULT = 2.0
BACKOFF_JITTER_DEFAULT = 0.1
BACKOFF_RESET_AFTER_DEFAULT_NS = 60 * SECOND
PARTITION_TIMEOUT_DEFAULT_NS = 60 * SECOND
LOG_MAX_BYTES_DEFAULT = 50 * MIB
LOG_BACKUPS_DEFAULT = 10
UMASK_DEFAULT = 0o022
REPORTS_KEEP_DEFAULT_NS = 30 * 24 * 3600 * SECOND
REPORTS_MAX_COUNT_DEFAULT = 100_000
REPORT_LOG_LINES_DEFAULT = 50

# --- bounds of the configuration -----------------------------------------------------------------------------
NAME_LENGTH_MAX = 64  # fits any file name together with ".log.10"
DURATION_MAX_NS = 365 * 24 * 3600 * SECOND  # a longer wait is a mistake, or "infinity"
INSTANCES_MAX = 10_000  # more processes than one host runs
INTENSITY_MAX = 1_000_000  # the restart window keeps this many times in memory
CHILDREN_MAX = 100_000  # children of one node
CONFIG_BYTES_MAX = 16 * MIB
INCLUDE_FILES_MAX = 1_000
ENVIRONMENT_BYTES_MAX = 1 * MIB
TREE_DEPTH_MAX = 64  # supervisors above one another

# --- the core ----------------------------------------------------------------------------------------------
CASCADE_MAX = 1_000_000  # internal messages of one step; reached only by a loop without progress, our bug
KILL_RESEND_NS = 5 * SECOND  # a worker survives SIGKILL only in state D: say so and signal again
DUMP_WAIT_NS = 500 * MS  # how long a hung worker is given to send its stacks before it is killed
STATUS_TEXT_MAX = 1 * KIB  # of a worker's own status line

# --- the runtime -------------------------------------------------------------------------------------------
EVENT_LOOP_LAG_NS = 200 * MS  # a wake-up later than this is our own lag and is taken off heartbeat deadlines
GONE_CHECK_NS = 20 * MS  # first re-check whether a process group is empty, when no SIGCHLD can tell
GONE_CHECK_MAX_NS = 1 * SECOND  # the re-checks double up to this
SOCKET_PATH_MAX = 107  # sockaddr_un.sun_path, unix(7)
PIPE_BYTES = 1 * MIB  # fcntl(2) F_SETPIPE_SZ: the most an ordinary user may ask for
LOG_READ_BYTES = 256 * KIB  # one read from a worker's pipe
LOG_TURN_BYTES = 1 * MIB  # read from one worker in one turn of the loop, so that a flood starves nobody
LOG_TAIL_BYTES = 64 * KIB  # read backwards from the end of a log for a report
LOG_LINE_MAX = 16 * KIB  # a longer line is split and marked, where lines matter
LOG_BACKUPS_MAX = 1_000

# --- the worker protocol -----------------------------------------------------------------------------------
HEARTBEAT_BATCH = 256  # messages drained in one turn of the loop
HEARTBEAT_MESSAGE_MAX = 256 * KIB  # one frame (ZMQ_MAXMSGSIZE); stacks of many threads are the largest
HEARTBEAT_HWM = 10  # beats queued in the worker while the daemon is away; older ones say nothing new
NOTIFY_DATAGRAM_MAX = 64 * KIB  # systemd reads at most a page; be generous, stay bounded
TRACEBACK_MAX = 64 * KIB  # of a crash frame kept in a report
STACKS_MAX = 128 * KIB  # of a dump kept in a report
TOKEN_BYTES = 16  # of randomness in $SNG_TOKEN

# --- reports -----------------------------------------------------------------------------------------------
REPORTS_WAITING_MAX = 10_000  # reports in memory while the disk does not take them; more are counted and dropped
STORE_BATCH_MAX = 500  # reports in one transaction (group commit)
STORE_BUSY_TIMEOUT_S = 5.0  # another process holds the SQLite lock
EVENTS_KEPT = 10_000  # decisions kept in memory for `sng events`

# --- control -----------------------------------------------------------------------------------------------
CONTROL_LINE_MAX = 1 * MIB  # one request
CONTROL_CLIENTS_MAX = 128  # connections at a time
CONTROL_STREAM_BACKLOG_MAX = 4 * MIB  # bytes a slow reader of a stream may lag behind, then it is cut off
CONTROL_CONNECT_TIMEOUT_S = 5.0
CONTROL_REPLY_TIMEOUT_S = 10.0  # for verbs that only read
CONTROL_REQUESTS_KEPT = 1_000  # answers remembered, so that a repeated request id is answered, not done again
REJECTED_LOG_INTERVAL_NS = 10 * SECOND  # at most one log line about rubbish in this time

assert BACKOFF_INITIAL_DEFAULT_NS <= BACKOFF_MAX_DEFAULT_NS
assert HEARTBEAT_INTERVAL_DEFAULT_NS < HEARTBEAT_TIMEOUT_DEFAULT_NS
assert DUMP_WAIT_NS < HEARTBEAT_TIMEOUT_DEFAULT_NS, "collecting stacks must not take longer than finding the hang"
assert GONE_CHECK_NS < GONE_CHECK_MAX_NS < SHUTDOWN_WORKER_DEFAULT_NS
assert LOG_READ_BYTES <= LOG_TURN_BYTES
assert TRACEBACK_MAX <= HEARTBEAT_MESSAGE_MAX and STACKS_MAX <= HEARTBEAT_MESSAGE_MAX
assert STORE_BATCH_MAX <= REPORTS_WAITING_MAX
