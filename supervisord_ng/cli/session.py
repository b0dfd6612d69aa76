"""What the global options say: which daemon is meant, and where its store lies."""

from __future__ import annotations

from collections.abc import Mapping

from supervisord_ng.control.client import Client, find_runtime_dir
from supervisord_ng.model.defaults import default_state_dir


class Session:
    """One call of ``sng``.

    Args:
        runtime_dir: what --runtime-dir says, or None.
        state_dir: what --state-dir says, or None.
        node: what --node says, or None.
        environ: the environment.
        is_root: whether root calls.
    """

    def __init__(
        self,
        runtime_dir: str | None,
        state_dir: str | None,
        node: str | None,
        environ: Mapping[str, str],
        *,
        is_root: bool,
    ) -> None:
        self.runtime_dir = runtime_dir
        self.state_dir = state_dir
        self.node = node
        self._environ = environ
        self._is_root = is_root

    def client(self) -> Client:
        """A client of the daemon that is meant.

        Raises:
            NoDaemonError: nobody knows where it would be.
        """
        runtime_dir = find_runtime_dir(self.runtime_dir, self._environ, is_root=self._is_root)
        return Client(runtime_dir, self.node)

    def default_state_dir(self) -> str | None:
        """Where the store of a daemon of this user would be, when --state-dir does not say."""
        return default_state_dir(self._environ, is_root=self._is_root)
