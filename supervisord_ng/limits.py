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
INTENSITY_DEFAULT = (
    5  # restarts per period; systemd's start limit (OTP's 1 in 5 s is for threads of a VM)
)
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
READY_FD_MAX = 9  # a shell's redirections name one digit; the daemon keeps 3 to 9 free for workers
REPORTS_COUNT_MAX = 10_000_000  # crash reports kept; some ten gigabytes
REPORT_LOG_LINES_MAX = 1_000  # last lines of a log in a report

# --- the core ----------------------------------------------------------------------------------------------
CASCADE_MAX = (
    1_000_000  # internal messages of one step; reached only by a loop without progress, our bug
)
RESTARTS_KEPT_MAX = 1_000  # times kept for `status` where the intensity is unlimited
BEATS_GRID = 4  # moments of an interval at which beats are sent to the nodes below, many at a time
FORMER_BOOTS_KEPT = 8  # lives of a node below that are over; late frames of them say nothing
REPORTS_UNACKED_MAX = 5_000  # reports on their way to the parent at a time: a credit window
REPORTS_RESEND_NS = 5 * SECOND  # without an acknowledgement for so long they are sent again
GIVE_UPS_KEPT = 20  # reasons kept for the daemon's last words; the store has them all
KILL_RESEND_NS = 5 * SECOND  # a worker survives SIGKILL only in state D: say so and signal again
PHI_INTERVALS_MAX = (
    100  # intervals learnt from; Akka keeps 200 for a host, a worker costs memory too
)
PHI_DEVIATION_MIN = 0.1  # of the interval: as steady as a beat is taken to be; Akka's 100 ms of 1 s
PHI_TIMEOUTS_MAX = 10  # a silence of so many timeouts is a hang whatever has been learnt
ADOPTION_GRACE_NS = (
    2 * SECOND
)  # an adopted worker has to find the new daemon before it can beat: the SDK tries once a second
LAG_GRACE_NS = 1 * SECOND  # for a worker to be heard after the daemon itself was late
LAG_EXCUSES_MAX = 10  # in a row; on a host where all are always late a hang is to be found too
DUMP_WAIT_NS = 500 * MS  # how long a hung worker is given to send its stacks before it is killed
STATUS_TEXT_MAX = 1 * KIB  # of a worker's own status line

# --- the runtime -------------------------------------------------------------------------------------------
SHELL_TURN_EVENTS = 64  # events in one turn of the loop, so that a crash loop starves nobody
CRASH_FRAME_WAIT_NS = 100 * MS  # how long a report waits for a traceback that may be on its way
BIRTHS_KEPT = (
    8  # starts of a worker noted in the runtime directory; the journal is not further behind
)
LEFTOVER_WAIT_NS = 5 * SECOND  # how long a killed process of an earlier daemon may take to vanish
LEFTOVER_ROUNDS_MAX = (
    10  # looks for such processes; more only where something forks faster than it dies
)
EVENT_LOOP_LAG_NS = (
    200 * MS
)  # a wake-up later than this is our own lag and is taken off heartbeat deadlines
LATENESS_KEPT_NS = 60 * SECOND  # our own lag is shown as the worst of about so long
GONE_CHECK_NS = 20 * MS  # first re-check whether a process group is empty, when no SIGCHLD can tell
GONE_CHECK_MAX_NS = 1 * SECOND  # the re-checks double up to this
SIGNAL_BYTES = 64 * KIB  # what a pipe holds, pipe(7): one byte for each signal since the last turn
REAP_TURN_MAX = (
    1_000  # dead processes collected in one turn of the loop, so that a fork storm starves nobody
)
MOVE_ROUNDS_MAX = 10  # looks for what a new worker forked before it was in its cgroup
LAUNCH_TIMEOUT_S = 10.0  # a fork server that is silent for so long is replaced
LAUNCH_REPORT_MAX = 4 * KIB  # what a child says of a failed step; a pipe takes it in one piece
SCRIPT_LINE_MAX = 256  # of a script's first line, execve(2) reads no more
PID_FILE_MAX = 32  # bytes of a lock file worth reading: one number
SOCKET_PATH_MAX = 107  # sockaddr_un.sun_path, unix(7)
PIPE_BYTES = 1 * MIB  # fcntl(2) F_SETPIPE_SZ: the most an ordinary user may ask for
KEEPER_S = (
    3600  # workers' output waits so long for the next daemon; an hour is a person's reaction time
)
KEEPER_RETRY_NS = 1 * SECOND  # before a keeper that was killed is started again
KEEPER_CATCH_UP_S = (
    1.0  # for a keeper to receive what a daemon sent it just before it was killed ...
)
KEEPER_LOOK_S = 0.01  # ... between two looks
LOG_READ_BYTES = (
    256 * KIB
)  # of a worker's output under way to the disk at a time; the rest is in its pipe
LOG_CHECK_BYTES = 4 * KIB  # of a block's beginning, by which the next daemon knows it again
LOG_FORMAT_BYTES = 32 * KIB  # turned into JSON in one piece, half as long as 256 KiB take
LOG_GATHER_NS = 2 * MS  # between two small blocks of one worker: many small writes become one
LOG_LINE_END_WAITS = 25  # such times an unfinished line stays in its pipe, where formats go by line
LOG_QUEUE_BYTES = 16 * MIB  # of all workers' output in memory
LOG_SPILL_BYTES = (
    4 * MIB
)  # of one worker's, while the disk does nothing; more is dropped and counted
LOG_STALL_NS = 500 * MS  # a write that takes longer makes no worker wait any more
LOG_READY_MAX = 1_000  # workers with output that are looked after in one turn of the loop
LOG_TAIL_WAIT_NS = (
    2 * SECOND
)  # how long a report waits for the last lines of a log, for a slow disk's sake
LOG_FLUSH_TIMEOUT_S = (
    5.0  # how long the end of the daemon waits for the disk to take the last output
)
LOG_LOSS_SAID_NS = 10 * SECOND  # at most one warning about lost output of a worker in this time
LOG_TURN_BYTES = (
    1 * MIB
)  # taken from one worker in one turn of the loop, so that a flood starves nobody
LOG_TAIL_BYTES = 64 * KIB  # read backwards from the end of a log for a report
LOG_LINE_MAX = 16 * KIB  # a longer line is split and marked, where lines matter
LOG_BACKUPS_MAX = 1_000
LOG_SEEK_TRIES = (
    10  # to find the last lines of a log that rotates at the same moment, then nearly the last do
)
LOG_POLL_S = 0.2  # between two looks at followed logs where inotify(7) is not to be had
FLIGHT_EVENTS = 25_000  # in each half of the flight recorder: so many can be replayed
FLIGHT_BYTES = 8 * MIB  # of memory in each of them, estimated by the next two
FLIGHT_EVENT_BYTES = 250  # an event with its time
FLIGHT_BEAT_BYTES = 120  # each sign of life in one
FLIGHT_FILES_MAX = 10  # kept in state_dir; the first failures tell as much as the last
FLIGHT_LINES_TURN = 500  # lines of a record written in one piece, so that a long one starves nobody

# --- the worker protocol -----------------------------------------------------------------------------------
HEARTBEAT_GATHER_FRACTION = 0.1  # of the shortest timeout: beats wait so long to be read together
HEARTBEAT_GATHER_MAX_NS = (
    100 * MS
)  # ... and no longer; by then a wake-up costs little of what is read
HEARTBEAT_GATHER_MIN = 8  # beats to be expected in that time; fewer are read as they come
HEARTBEAT_BATCH = 32  # messages drained in one turn of the loop: a millisecond or so
HEARTBEAT_MESSAGE_MAX = (
    256 * KIB
)  # one frame (ZMQ_MAXMSGSIZE); stacks of many threads are the largest
HEARTBEAT_HWM = (
    10  # beats queued in the worker while the daemon is away; older ones say nothing new
)
NOTIFY_DATAGRAM_MAX = 64 * KIB  # systemd reads at most a page; be generous, stay bounded
TRACEBACK_MAX = 64 * KIB  # of a crash frame kept in a report
STACKS_MAX = 128 * KIB  # of a dump kept in a report
TOKEN_BYTES = 16  # of $SNG_TOKEN that cannot be guessed
TOKEN_KEY_BYTES = 32  # of the key that tokens are made with
HEARTBEAT_DRAIN_MAX = (
    16_384  # messages drained at once before anybody is judged; each peer gets its turn
)
HEARTBEAT_FRAMES_MAX = 8  # frames of one message; the protocol needs five
HEARTBEAT_RECEIVE_HWM = (
    100  # messages that one connection may have waiting in the daemon (ZMQ_RCVHWM)
)
HEARTBEAT_CONNECTIONS_PER_WORKER = 8  # on average over the workers of one user: they may fork
HEARTBEAT_CONNECTIONS_MIN = 128  # of one user in any case
HEARTBEAT_FRAMES_SKIPPED = 16_384  # of one message, before its sender is cut off: some 50 ms
HEARTBEAT_GROWTH_MAX = 64 * MIB  # of the daemon, before silent connections are cut off
HEARTBEAT_GROWTH_LOOK_NS = 250 * MS  # between two looks at that
HEARTBEAT_DESCRIPTORS_SPARED = 64  # free ones that are not spent on connections: libzmq aborts
HEARTBEAT_HANDSHAKE_MS = 5_000  # a connection that says nothing is dropped (ZMQ_HANDSHAKE_IVL)
HEARTBEAT_RECONNECT_MS = 100  # the SDK tries to reach an absent daemon, first after this time ...
HEARTBEAT_RECONNECT_MAX_MS = 1_000  # ... then ever later up to this; well below the default timeout
HEARTBEAT_NUMBER_DIGITS_MAX = 20  # of a decimal on the wire: 64 bits
CRASH_TYPE_MAX = 256  # name of an exception's class
CRASH_MESSAGE_MAX = 8 * KIB  # str() of an exception
HEARTBEAT_INTERVAL_MAX_NS = (
    24 * 3600 * SECOND
)  # what a worker takes from a daemon; fits zmq_poll's C int of ms
WORKER_FLUSH_NS = 500 * MS  # how long the end of a worker may wait for its last words to be taken
STACK_FRAMES_MAX = 100  # of one thread in a dump, the innermost ones
NOTIFY_BATCH = 64  # datagrams read in one turn of the loop
NOTIFY_DRAIN_MAX = (
    1_024  # datagrams read before anybody is judged; twice what Linux queues, unix(7)
)
NOTIFY_FDS_MAX = 253  # descriptors in one datagram; the kernel's SCM_MAX_FD, unix(7)
READY_PROBE_FIRST_NS = 20 * MS  # between the first two looks whether a worker is ready; doubles ...
READY_PROBE_MAX_NS = 500 * MS  # ... up to this
READY_PROBE_TIMEOUT_NS = 5 * SECOND  # of one such look; `ready_timeout` bounds the whole
READY_FD_BYTES = 4 * KIB  # one read from the pipe behind such a descriptor
PROBE_HTTP_HEAD_MAX = 16 * KIB  # of an HTTP answer; a body is not read
DIAGNOSIS_PROCESSES_MAX = 20  # of a hung worker, described in its report
DIAGNOSIS_THREADS_MAX = 50  # of each of them
USAGE_PROCESSES_MAX = 200  # of one worker, looked at for what it uses
DIAGNOSIS_TIME_NS = 50 * MS  # for all of it; the loop stands still meanwhile
ANCESTORS_MAX = 64  # parents walked up from a process to the worker that it belongs to

# --- links between nodes -----------------------------------------------------------------------------------
LINK_BATCH = 256  # messages drained in one turn of the loop
LINK_DRAIN_MAX = 16_384  # messages drained at once before a node is judged silent
LINK_MESSAGE_MAX = 1 * MIB  # one frame (ZMQ_MAXMSGSIZE); a batch of reports is the largest
LINK_GATHER_PEERS = 32  # with more nodes below, what they say is gathered before it is read ...
LINK_GATHER_NS = MS // 4  # ... for so long for each: a message read alone costs five times as much
LINK_GATHER_MAX_NS = 100 * MS  # ... and no longer
LINK_HWM = 100  # messages waiting on one connection, each way; more are dropped, and said again
LINK_HANDSHAKE_MS = 5_000  # a connection that has not shown its key by then is dropped
LINK_CONNECT_TIMEOUT_MS = 3_000  # of one attempt to reach the parent
LINK_RECONNECT_MS = 100  # a child tries to reach an absent parent, first after this time ...
LINK_RECONNECT_MAX_MS = (
    2_000  # ... then ever later up to this; so late it is back after a partition
)
LINK_REFUSED_MS = 1_000  # a child that was refused tries again, first after this time ...
LINK_REFUSED_MAX_MS = 30_000  # ... then ever later up to this
LINK_DEAD_MS = 10_000  # TCP_USER_TIMEOUT, tcp(7): a connection with data unacknowledged for so long
LINK_LINGER_MS = 500  # for the goodbye to go out when the daemon ends
LINK_INTERVAL_MIN_NS = 10 * MS  # of beats that a peer may ask for
LINK_MARK_MAX = 128  # characters of the name of a boot or a life
LINK_WORDS_MAX = 512  # characters in which a node says why it refuses another
LINK_ROUTE_MAX = 64  # nodes above one another
LINK_BOOT_BYTES = 16  # of randomness in the name of a boot
REASON_MAX = 256  # characters of an exit reason

# --- reports -----------------------------------------------------------------------------------------------
REPORTS_WAITING_MAX = (
    10_000  # reports in memory while the disk does not take them; more are counted and dropped
)
STORE_BATCH_MAX = 500  # reports in one transaction (group commit)
STORE_PARCEL_BYTES_MAX = (
    1 * MIB
)  # reports of nodes below in one transaction, so that those of this node never wait long
STORE_BUSY_TIMEOUT_S = 5.0  # another process holds the SQLite lock
STORE_RETRY_S = 0.2  # first wait after the disk refused a batch; doubles
STORE_RETRY_MAX_S = 10.0  # ... up to this
STORE_PRUNE_INTERVAL_S = (
    3600.0  # reports that are older than `keep` go at the latest this much later
)
STORE_ASIDE_MAX = (
    10  # corrupt stores kept beside the good one; they are never deleted, so stop making more
)
REPORTS_WAITING_BYTES_MAX = (
    64 * MIB
)  # the same bound in bytes: a report with stacks is 100 times a plain one
REPORT_ID_MAX = 64  # characters of an id from another node; ours have 36
REPORT_CANDIDATES_MAX = 5  # ids listed when the beginning or end of one fits several reports
INCARNATIONS_RESERVED = (
    100  # of each child, ahead: more restarts than happen while the disk takes one write
)
EVENTS_KEPT = 10_000  # decisions kept in memory for `sng events`

REPORTS_RECEIVED_BYTES_MAX = (
    16 * MIB
)  # reports of nodes below that wait for our disk; more are refused, and sent again by their nodes

# --- between nodes -----------------------------------------------------------------------------------------
LINK_PACKED_MAX = 512 * KIB  # crash reports in one frame, packed
LINK_UNPACKED_MAX = (
    8 * MIB
)  # ... and unpacked: what 512 KiB can grow to is bounded by us, not by them
LINK_REPORTS_BYTES = (
    256 * KIB
)  # of reports in one frame before packing, unless a single one is larger
LINK_REPORTS_WINDOW_BYTES = (
    256 * KIB
)  # of packed reports under way: heartbeats and answers wait no longer than these take
LINK_ASK_MAX = 256 * KIB  # an operator's request to a node below
LINK_PART_MAX = 64 * KIB  # a piece of the answer; a heartbeat may stand behind some of them
LINK_PARTS_WINDOW = 8  # such pieces under way for one request
REPORTS_OFFERED_MAX = 64  # frames of reports from one node that wait for the core's word
LINK_ASKS_MAX = 64  # requests in progress on one link
LINK_ASK_AGAIN_NS = 2 * SECOND  # a request whose answer does not go on is repeated
LINK_ASK_SILENT_NS = 60 * SECOND  # a request that is not repeated for so long makes room for others
SHUTDOWN_ANSWER_S = 0.1  # between the answer to a shutdown from another node and its beginning
LINK_ANSWER_MAX = (
    64 * MIB
)  # one line of an answer that passes through here; larger ones are refused
FLEET_WITHIN_S = 5.0  # for all nodes below to say how they are; less for those further down ...
FLEET_WITHIN_SHARE = 0.7  # ... so that a node that is silent there does not silence those above it

# --- the daemon ---------------------------------------------------------------------------------------------
CONSOLE_NAME_WIDTH_MAX = 24  # columns for names in `sng run`; a longer one pushes its own line
SYSTEMCTL_TIMEOUT_S = 10.0  # for systemd to say whether a unit is being stopped
STATUS_LINE_WAIT_NS = 500 * MS  # a burst of restarts is one line for the service manager
STATUS_LINE_NAMES = 3  # of each state, in that line; `sng status` has them all
ORDER_WRITTEN_S = 1.0  # an operator is answered when the disk has what was done, or after this time
UPGRADE_CHECK_S = 30.0  # for the new version to say whether it can take over: some starts of Python
UPGRADE_WAIT_S = 30.0  # for it to answer, before `sng upgrade` says that it does not
STORE_FIRST_TIMEOUT_S = 1.0  # how long the start of the first worker waits for the disk
STORE_CLOSE_TIMEOUT_S = 5.0  # how long the end of the daemon waits for the disk

# --- control -----------------------------------------------------------------------------------------------
CONTROL_LINE_MAX = 1 * MIB  # one request
CONTROL_CLIENTS_MAX = 128  # connections at a time
CONTROL_STREAM_BACKLOG_MAX = (
    4 * MIB
)  # bytes a slow reader of a stream may lag behind, then it is cut off
CONTROL_CONNECT_TIMEOUT_S = 5.0
CONTROL_REPLY_TIMEOUT_S = 10.0  # for verbs that only read
CONTROL_REQUESTS_KEPT = (
    1_000  # answers remembered, so that a repeated request id is answered, not done again
)
CONTROL_ID_MAX = 128  # characters of a request id
CONTROL_IN_FLIGHT_MAX = 64  # requests and streams of one connection at a time
CONTROL_ANSWERS_BYTES_MAX = 16 * MIB  # of the answers remembered, all together
CONTROL_STREAM_TURN = (
    100  # items sent in one turn of the loop, so that a long history starves nobody
)
CONTROL_STALL_S = 10.0  # a reader this long behind by CONTROL_STREAM_BACKLOG_MAX is cut off
CONTROL_CLOSE_S = 1.0  # for the last answers to reach their readers when the daemon ends
REJECTED_LOG_INTERVAL_NS = 10 * SECOND  # at most one log line about rubbish in this time

# --- sng ---------------------------------------------------------------------------------------------------
STATUS_LIVE_S = 1.0  # between two looks of `sng status -w`: uptimes are shown in seconds
TOP_INTERVAL_S = 1.0  # between two looks of `sng top`; CPU is what was used between them
TOP_LOG_LINES = 500  # of a log in `sng top`
COMPLETION_TIMEOUT_S = 1.0  # who pressed Tab waits no longer for names
LOGS_SHOWN_DEFAULT = 10  # lines of `sng logs` without -n, as tail(1)
WHATIF_STEPS_MAX = 50_000  # of the core in one call of `sng simulate`: some seconds
WHATIF_LOOP_STEPS_MAX = 10_000  # of them for one worker in a crash loop
CRASHES_SHOWN_DEFAULT = 20  # lines of `sng crashes` without -n: a screen

assert BACKOFF_INITIAL_DEFAULT_NS <= BACKOFF_MAX_DEFAULT_NS
assert HEARTBEAT_INTERVAL_DEFAULT_NS < HEARTBEAT_TIMEOUT_DEFAULT_NS
assert DUMP_WAIT_NS < HEARTBEAT_TIMEOUT_DEFAULT_NS, (
    "collecting stacks must not take longer than finding the hang"
)
assert GONE_CHECK_NS < GONE_CHECK_MAX_NS < SHUTDOWN_WORKER_DEFAULT_NS
assert FLIGHT_EVENTS * FLIGHT_EVENT_BYTES < FLIGHT_BYTES
assert LOG_READ_BYTES <= LOG_TURN_BYTES
assert LOG_READ_BYTES < PIPE_BYTES, "a worker must be able to write while a block is under way"
assert LOG_SPILL_BYTES < LOG_QUEUE_BYTES
assert READY_PROBE_FIRST_NS <= READY_PROBE_MAX_NS < READY_PROBE_TIMEOUT_NS
assert DIAGNOSIS_TIME_NS < DUMP_WAIT_NS
assert TRACEBACK_MAX <= HEARTBEAT_MESSAGE_MAX
assert STACKS_MAX <= HEARTBEAT_MESSAGE_MAX
assert 2 * (TRACEBACK_MAX + CRASH_MESSAGE_MAX + CRASH_TYPE_MAX) < HEARTBEAT_MESSAGE_MAX, (
    "JSON doubles quotes"
)
assert HEARTBEAT_RECONNECT_MAX_MS * MS < HEARTBEAT_TIMEOUT_DEFAULT_NS, (
    "an adopted worker must not seem hung"
)
assert HEARTBEAT_RECONNECT_MAX_MS * MS < ADOPTION_GRACE_NS
assert HEARTBEAT_INTERVAL_MAX_NS // MS < 2**31
assert STORE_BATCH_MAX <= REPORTS_WAITING_MAX
assert STORE_BATCH_MAX <= REPORTS_UNACKED_MAX
assert LINK_REPORTS_BYTES <= LINK_PACKED_MAX
assert LINK_UNPACKED_MAX <= REPORTS_RECEIVED_BYTES_MAX
assert FLEET_WITHIN_S < CONTROL_REPLY_TIMEOUT_S
assert LINK_ASK_AGAIN_NS < LINK_ASK_SILENT_NS
