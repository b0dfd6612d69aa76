"""What ``sng top`` draws: a table of the tree, a log, a question. Knows Textual; asks the daemon in threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Footer, Log, Static

from supervisord_ng.cli.output import printable, uptime
from supervisord_ng.control.client import Client
from supervisord_ng.errors import SupervisordNGError
from supervisord_ng.limits import MIB, TOP_INTERVAL_S, TOP_LOG_LINES

_COLUMNS = ("NAME", "STATE", "PID", "UPTIME", "CPU %", "MEMORY", "RESTARTS", "BEAT", "STATUS")
_STYLES = {"running": "green", "stopped": "dim", "exited": "dim", "failed": "red", "lost": "red"}


class Rates:
    """How busy workers are: what each has used since the look before, as percent of one processor."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, int], float] = {}
        self._when_s = 0.0

    def add(self, workers: list[dict[str, Any]], now_s: float) -> dict[str, float]:
        """Take a look in; return the percentages of those that were there at the one before."""
        used = {(one["path"], one["pid"]): float(one["cpu_s"]) for one in workers}
        passed_s = now_s - self._when_s
        rates = {
            path: max(0.0, 100 * (cpu_s - self._before[path, pid]) / passed_s)
            for (path, pid), cpu_s in used.items()
            if (path, pid) in self._before and passed_s > 0
        }
        self._before, self._when_s = used, now_s
        return rates


def cells(row: dict[str, Any], usage: dict[str, Any] | None, rate: float | None) -> list[Text]:
    """One line of the table."""
    beat = row["beat_age_s"]
    values = [
        "  " * row["path"].count("/") + row["name"],
        row["state"],
        "-" if row["pid"] is None else str(row["pid"]),
        uptime(row["uptime_s"]),
        "-" if rate is None else f"{rate:.1f}",
        "-" if usage is None else f"{usage['rss_bytes'] / MIB:.1f} M",
        str(row["restarts"]),
        "-" if beat is None else f"{beat:.1f}s",
        printable((row["pid"] and row["status_text"]) or row["last_exit"] or ""),
    ]
    line = [Text(value) for value in values]
    line[1].stylize(_STYLES.get(row["state"], "yellow"))
    for column in (2, 3, 4, 5, 6, 7):
        line[column].justify = "right"
    return line


class Question(ModalScreen[bool]):
    """Asks before something is stopped that runs."""

    CSS = """
    Question { align: center middle; }
    Question Static { width: auto; padding: 1 3; border: thick $warning; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("y", "dismiss(True)", "Yes"),
        ("n,escape", "dismiss(False)", "No"),
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """One line."""
        yield Static(Text(f"{self._text} (y/n)"))


class LogScreen(Screen[None]):
    """The last lines of a worker's log, and what comes."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,l", "dismiss", "Back")]

    def __init__(self, client: Callable[[], Client], path: str) -> None:
        super().__init__()
        self._client = client
        self._path = path
        self._shown: list[str] = []

    def compose(self) -> ComposeResult:
        """The log over the whole screen."""
        yield Log(max_lines=TOP_LOG_LINES)
        yield Footer()

    def on_mount(self) -> None:
        """Look now, and again and again."""
        self._look()
        self.set_interval(TOP_INTERVAL_S, self._look)

    @work(thread=True, exclusive=True)
    def _look(self) -> None:
        args = {"paths": [self._path], "lines": TOP_LOG_LINES, "follow": False}
        try:
            with self._client() as client:
                lines = [printable(item["line"]) for item in client.stream("logs", args)]
        except SupervisordNGError as error:
            lines = [str(error)]
        self.app.call_from_thread(self._show, lines)

    def _show(self, lines: list[str]) -> None:
        if lines != self._shown and self.is_mounted:
            self._shown = lines
            log = self.query_one(Log)
            log.clear()
            log.write_lines(lines)


class Top(App[None]):
    """The table and its keys.

    Args:
        client: makes a connection to the daemon.
        paths: what is shown, nothing for all.
    """

    CSS = "DataTable { height: 1fr; } #head, #said { height: 1; padding: 0 1; }"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        ("s", "order('start')", "Start"),
        ("x", "order('stop')", "Stop"),
        ("r", "order('restart')", "Restart"),
        ("l", "log", "Log"),
        ("q", "quit", "Quit"),
    ]

    def __init__(self, client: Callable[[], Client], paths: list[str]) -> None:
        super().__init__()
        self._client = client
        self._paths = paths
        self._rates = Rates()
        self._order: list[str] = []

    def compose(self) -> ComposeResult:
        """The node above the tree, what was said last below it."""
        yield Static(id="head")
        yield DataTable[Text](cursor_type="row", zebra_stripes=True)
        yield Static(id="said")
        yield Footer()

    def on_mount(self) -> None:
        """Look now, and again and again."""
        table = self._table()
        for column in _COLUMNS:
            table.add_column(column, key=column)
        self._look()
        self.set_interval(TOP_INTERVAL_S, self._look)

    def action_order(self, verb: str) -> None:
        """Start, stop or restart what the cursor is on; the last two after a question."""
        path = self._chosen()
        if path is None:
            return
        if verb == "start":
            self._do(verb, path)
            return

        def answered(yes: bool | None) -> None:  # noqa: FBT001 - Textual calls it so
            if yes:
                self._do(verb, path)

        self.push_screen(Question(f"{verb} {path}?"), answered)

    def action_log(self) -> None:
        """Show the log of what the cursor is on."""
        path = self._chosen()
        if path is not None:
            self.push_screen(LogScreen(self._client, path))

    @work(thread=True)
    def _do(self, verb: str, path: str) -> None:
        """Order it; what becomes of it shows in the table."""
        try:
            with self._client() as client:
                results = client.request(verb, {"paths": [path], "wait": False})["results"]
            said = f"{verb} {path}: {', '.join(str(one['message']) for one in results)}"
        except SupervisordNGError as error:
            said = str(error)
        self.call_from_thread(self._say, said)

    @work(thread=True, exclusive=True, group="look")
    def _look(self) -> None:
        try:
            with self._client() as client:
                status = client.request("status", {"paths": self._paths})
                usage = client.request("usage", {"paths": self._paths})["workers"]
        except SupervisordNGError as error:  # the next look may find it back
            self.call_from_thread(self._say, str(error))
            return
        self.call_from_thread(self._show, status, usage, time.monotonic())

    def _say(self, text: str) -> None:
        self.screen_stack[0].query_one("#said", Static).update(Text(printable(text), "yellow"))

    def _show(self, status: dict[str, Any], usage: list[dict[str, Any]], now_s: float) -> None:
        rates = self._rates.add(usage, now_s)
        used = {one["path"]: one for one in usage}
        table = self._table()
        order = [row["path"] for row in status["children"]]
        if order != self._order:
            chosen = self._chosen()
            table.clear()
            for path in order:
                table.add_row(*(Text() for _ in _COLUMNS), key=path)
            self._order = order
            if chosen in order:
                table.move_cursor(row=order.index(chosen))
        for row in status["children"]:
            path = row["path"]
            for column, cell in zip(
                _COLUMNS, cells(row, used.get(path), rates.get(path)), strict=True
            ):
                table.update_cell(path, column, cell, update_width=True)
        total = sum(rates.values())
        memory = sum(one["rss_bytes"] for one in usage) / MIB
        head = (
            f"node {printable(status['node'])}: {status['state']}, up {uptime(status['uptime_s'])},"
            f" {len(usage)} workers, CPU {total:.1f} %, memory {memory:.1f} M,"
            f" {status['reports']['stored']} crash reports"
        )
        self.screen_stack[0].query_one("#head", Static).update(Text(head, "bold"))

    def _table(self) -> DataTable[Text]:
        return self.screen_stack[0].query_one(DataTable)

    def _chosen(self) -> str | None:
        row = self._table().cursor_row
        return self._order[row] if 0 <= row < len(self._order) else None
