"""A daemon's answers without a daemon: a control server whose verbs say what a test wants to be said."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from click.testing import CliRunner, Result

from supervisord_ng.cli.main import cli
from supervisord_ng.control.access import Caller
from supervisord_ng.errors import ControlError
from supervisord_ng.model.messages import Request
from supervisord_ng.model.status import NodeStatus, Rejected, ReportCounts, Row, State
from tests.control.serving import Serving, serving


class Canned:
    """The plugged-in handler, and what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {verb.replace("_", "."): answer for verb, answer in answers.items()}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.serving: Serving

    def __call__(self, _: Caller, request: Request) -> Any:
        """Answer as told: a ControlError is raised, a list of a stream's items is streamed."""
        self.asked.append((request.verb, request.args))
        answer = self.answers[request.verb]
        if request.verb in ("events", "logs"):
            return _stream(answer)
        return _result(answer)

    def sng(self, *args: str) -> Result:
        """Call ``sng`` with these arguments against this daemon."""
        return sng("--runtime-dir", self.serving.runtime_dir, *args)


def sng(*args: str) -> Result:
    """Call ``sng`` in this process."""
    # Tests compare text, whatever the terminal of their user likes.
    return CliRunner(env={"FORCE_COLOR": None}).invoke(cli, args, prog_name="sng")


@contextlib.contextmanager
def canned(**answers: Any) -> Iterator[Canned]:
    """A daemon that gives these answers; a dot in a verb is written as an underscore."""
    daemon = Canned(**answers)
    with serving(daemon) as daemon.serving:
        yield daemon


async def _result(answer: Any) -> Any:
    if isinstance(answer, ControlError):
        raise answer
    return answer


async def _stream(items: Any) -> AsyncIterator[Any]:
    if isinstance(items, ControlError):
        raise items
    for item in items:
        yield item


def worker(path: str, state: State = State.RUNNING, **more: Any) -> Row:
    """A row of a worker."""
    return _row(path, "worker", state, **more)


def supervisor(path: str, state: State = State.RUNNING, **more: Any) -> Row:
    """A row of a supervisor, 5 in 10 s unless said otherwise."""
    flags = {"strategy": "one_for_one", "intensity": 5, "period_s": 10.0, "restarts_in_window": 0}
    return _row(path, "supervisor", state, **(flags | more))


def _row(path: str, kind: Any, state: State, **more: Any) -> Row:
    facts = {"ready": state is State.RUNNING, "incarnation": 1} | more
    return Row(
        path=path,
        name=path.rpartition("/")[2],
        kind=kind,
        supervisor=path.rpartition("/")[0] or None,
        state=state,
        **facts,
    )


def node(*rows: Row, **more: Any) -> NodeStatus:
    """The answer of ``status`` with these rows."""
    facts: dict[str, Any] = {
        "reports": ReportCounts(stored=3),
        "rejected": Rejected(),
        "uptime_s": 7391.5,
        "loop_lag_ms": 0.2,
    } | more
    return NodeStatus(
        node="web-1", state=State.RUNNING, pid=812, version="0.1.0", children=rows, **facts
    )
