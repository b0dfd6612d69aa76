"""The exceptions of the house and the exit statuses of its programs.

    SupervisordNGError
      ConfigError        the configuration is wrong; carries every problem       exit 78
      ControlError       the daemon refuses a request, with a stable code
      NoDaemonError      nobody answers on the control socket                    exit 7
      ProtocolError      a peer broke the rules of a wire: drop, count, go on
      SpawnError         a worker could not be started; carries step and errno
      StoreError         the store on disk cannot be used
      NodeKeyError       a file cannot be used as the key of a node
      AlreadyRunningError  another daemon holds these directories
      InternalError      an invariant failed: our bug, please report             exit 70

Wording: "cannot start root/api: no such file: /srv/api/run". Lower case, "cannot X", why, where, a hint.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_RUNNING = 3  # `status`: something is not running (LSB init, supervisorctl)
EXIT_UNKNOWN = 4  # `status`: unknown name or no daemon; other verbs: refused
EXIT_NO_DAEMON = 7  # LSB init: program is not running
EXIT_SOFTWARE = 70  # sysexits.h EX_SOFTWARE: the root gave up, or an invariant failed
EXIT_CONFIG = 78  # sysexits.h EX_CONFIG


class SupervisordNGError(Exception):
    """The root of everything that this package raises on purpose."""


class Problem:
    """One thing that is wrong in a configuration file, in the words that a person reads."""

    __slots__ = ("file", "line", "message")

    def __init__(self, file: str, line: int | None, message: str) -> None:
        self.file = file
        self.line = line
        self.message = message

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.message}"

    def __repr__(self) -> str:
        return f"Problem({str(self)!r})"


class ConfigError(SupervisordNGError):
    """The configuration is wrong. `problems` holds every one of them, in file order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        assert problems, "a ConfigError without a problem"
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class ControlError(SupervisordNGError):
    """The daemon refuses a request.

    `code` is stable: not_found, running, restarting, already_present, already_started, denied, bad_request,
    failed, shutting_down, unsupported, too_many, no_link, refused, config: a file is wrong. `message` (one
    line for each problem, then what could not be done) and `hint` are for people.
    """

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message} ({hint})")
        self.code = code
        self.message = message
        self.hint = hint


class NoDaemonError(SupervisordNGError):
    """Nobody answers on the control socket."""


class ProtocolError(SupervisordNGError):
    """A peer broke the rules of a wire. The message is dropped and counted; nobody dies of it."""


class SpawnError(SupervisordNGError):
    """A worker could not be started.

    `why` is what stands in the report behind `start_failed:`, an errno name (`ENOENT`) or a word. `message`
    names the step that failed and the path or name it failed on.
    """

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why
        self.message = message


class StoreError(SupervisordNGError):
    """The store of reports cannot be opened, read or written."""


class NodeKeyError(SupervisordNGError):
    """The file of a node's key cannot be made, or cannot be used."""


class AlreadyRunningError(SupervisordNGError):
    """Another daemon holds the lock of these directories."""


class InternalError(SupervisordNGError):
    """An invariant failed: a bug of ours."""
