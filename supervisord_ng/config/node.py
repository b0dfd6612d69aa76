"""[node], [parent] and [reports]: what is said once for the whole node."""

from __future__ import annotations

import os

from supervisord_ng.config import raw
from supervisord_ng.config.build import absolute, heartbeat_spec
from supervisord_ng.config.explain import show
from supervisord_ng.config.host import Host, group_number, no_such
from supervisord_ng.config.places import Notes
from supervisord_ng.config.tables import Table, fill
from supervisord_ng.limits import SOCKET_PATH_MAX
from supervisord_ng.model import defaults, spec
from supervisord_ng.model.names import NAME_RULE, is_name
from supervisord_ng.model.paths import HEARTBEAT_SOCKET, KEY_FILE


class NodeBuilder:
    """Finds the name and the directories of the node, asking the host for what the file does not say."""

    def __init__(self, table: Table, host: Host, notes: Notes) -> None:
        self.said = fill(raw.Node, table)
        self.table = table
        self.host = host
        self.notes = notes

    def build(self, runtime_dir: str | None, state_dir: str | None) -> spec.NodeSpec:
        """The node; the directories given here, by a command line, win over the file's."""
        said = self.said
        runtime_dir = self._checked_runtime_dir(runtime_dir or self._runtime_dir())
        state_dir = os.path.abspath(state_dir or self._state_dir())
        secret = said.secret_key_file and self._absolute("secret_key_file", said.secret_key_file)
        return spec.NodeSpec(
            name=self._name(),
            runtime_dir=runtime_dir,
            state_dir=state_dir,
            log_dir=self._log_dir(state_dir),
            secret_key_file=secret or os.path.join(state_dir, KEY_FILE),
            control_group=self._control_group(),
            listen=said.listen,
            on_daemon_crash=said.on_daemon_crash,
            log_level=said.log_level,
            log_format=said.log_format,
        )

    def _problem(self, key: str, text: str) -> None:
        self.notes.problem(self.table.place_of(key), text, f"node.{key}")

    def _absolute(self, key: str, path: str) -> str:
        return absolute(path, self.table.place_of(key))

    def _name(self) -> str:
        if self.said.name is not None:
            return self.said.name
        if not is_name(self.host.name) and self.table.is_sound("name"):
            text = f"cannot be the host's name, {show(self.host.name)}: must be {NAME_RULE}"
            self._problem("name", f"{text} (set it)")
        return self.host.name

    def _runtime_dir(self) -> str:
        if self.said.runtime_dir is not None:
            return self._absolute("runtime_dir", self.said.runtime_dir)
        found = defaults.default_runtime_dir(self.host.environ, is_root=self.host.is_root)
        if found is None and self.table.is_sound("runtime_dir"):
            text = "cannot be left out: neither RUNTIME_DIRECTORY nor XDG_RUNTIME_DIR is set"
            self._problem("runtime_dir", text)
        return found or os.path.sep

    def _checked_runtime_dir(self, directory: str) -> str:
        directory = os.path.abspath(directory)
        room = SOCKET_PATH_MAX - len(HEARTBEAT_SOCKET) - 1
        length = len(os.fsencode(directory))
        if length > room:
            text = f"cannot be {show(directory)}: must be at most {room} bytes long, not {length}"
            why = f"the path of a socket in it has at most {SOCKET_PATH_MAX}, unix(7)"
            self._problem("runtime_dir", f"{text}: {why}")
        return directory

    def _state_dir(self) -> str:
        if self.said.state_dir is not None:
            return self._absolute("state_dir", self.said.state_dir)
        found = defaults.default_state_dir(self.host.environ, is_root=self.host.is_root)
        if found is None and self.table.is_sound("state_dir"):
            text = "cannot be left out: none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set"
            self._problem("state_dir", text)
        return found or os.path.sep

    def _log_dir(self, state_dir: str) -> str:
        if self.said.log_dir is not None:
            return self._absolute("log_dir", self.said.log_dir)
        # systemd joins several directories of one unit with colons; the first is the node's own.
        given = self.host.environ.get("LOGS_DIRECTORY", "").partition(":")[0]
        return os.path.abspath(given or os.path.join(state_dir, "log"))

    def _control_group(self) -> int | None:
        group = self.said.control_group
        if not isinstance(group, str):
            return group
        number = group_number(group)
        if number is None:
            self._problem("control_group", no_such("group", group))
        return number


def build_parent(table: Table) -> spec.ParentSpec:
    """The node above."""
    said = fill(raw.Parent, table)
    return spec.ParentSpec(
        endpoint=said.endpoint,
        public_key=said.public_key,
        on_partition=said.on_partition,
        partition_timeout_ns=said.partition_timeout,
        heartbeat=heartbeat_spec(said.heartbeat),
        control=said.control,
    )


def build_reports(table: Table) -> spec.ReportsSpec:
    """How many crash reports are kept."""
    said = fill(raw.Reports, table)
    return spec.ReportsSpec(keep_ns=said.keep, max_count=said.max_count, log_lines=said.log_lines)
