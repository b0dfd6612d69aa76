"""The names of the files in a node's directories, in the one place that every program may read.

The CLI finds the daemon by `CONTROL_SOCKET` without importing anything of the daemon's.
"""

from __future__ import annotations

# in runtime_dir
CONTROL_SOCKET = "control.sock"
HEARTBEAT_SOCKET = "heartbeat.sock"  # the longest, by which runtime_dir's own length is checked
NOTIFY_SOCKET = "notify.sock"
OUTPUT_DIRECTORY = "output"  # the pipes of workers
BIRTHS_DIRECTORY = "births"

LOCK = "lock"  # in runtime_dir and in state_dir
STORE = "store.sqlite"  # in state_dir
MARK_KEY = "mark.key"  # in state_dir
KEY_FILE = "node.key"  # in state_dir
