"""Reads the store of reports: for ``sng crashes`` without a daemon, and for the daemon itself.

Never writes. Each call opens the file and closes it again (about 0.2 ms), so a `Reader` holds
nothing that could go stale when the store is replaced, and may be used from any thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import msgspec

from supervisord_ng import limits
from supervisord_ng.errors import ControlError, StoreError
from supervisord_ng.model.reports import Context, CrashReport
from supervisord_ng.reports import database
from supervisord_ng.reports.stats import FingerprintCount, Stats, merge

_NO_VALUES: Mapping[str, Any] = {}
_DECODER = msgspec.json.Decoder(CrashReport)

# In ASCII "0" follows "/" and "A" follows "@": the ranges hold what is below a path, and its
# instances. Scans from the newest on and stops at the limit.
_NEWEST = """SELECT id, body FROM report
    WHERE (:path IS NULL OR path = :path OR path > :path || '/' AND path < :path || '0'
           OR path > :path || '@' AND path < :path || 'A')
    AND (:since IS NULL OR ended >= :since) ORDER BY seq DESC LIMIT :limit"""
_EXACT = "SELECT id, body FROM report WHERE id = :text"
_PARTIAL = """SELECT id, body FROM report
    WHERE substr(id, 1, length(:text)) = :text OR substr(id, -length(:text)) = :text
    ORDER BY seq DESC LIMIT :limit"""
_GROUPED = """SELECT path, reason, context, frame, count(*), min(ended), max(ended) FROM report
    GROUP BY path, reason, context, frame"""


class Reader:
    """The reports of one store. Every method raises StoreError when it cannot be read."""

    def __init__(self, path: str) -> None:
        """`path` is that of the database file; nothing is opened yet."""
        self._path = path

    def newest(
        self, limit: int | None = None, path: str | None = None, since: float | None = None
    ) -> list[CrashReport]:
        """Return reports in reverse order of their arrival at this node.

        Args:
            limit: at most this many; None for all, which may be much memory.
            path: only those of this path in the tree, its instances, and everything below it.
            since: only those that ended at or after this time, in seconds since the epoch.
        """
        values = {"path": path, "since": since, "limit": -1 if limit is None else limit}
        with self._connection() as connection:
            return [self._decode(*row) for row in _rows(connection, _NEWEST, values)]

    def get(self, text: str) -> CrashReport:
        """Return the report whose id is `text`, or begins or ends with it.

        The end tells reports apart sooner than the beginning, which is the time; lists show the
        end.

        Raises:
            ControlError: `not_found`, or `bad_request` when several fit, with their ids.
        """
        values = {"text": text.strip().lower(), "limit": limits.REPORT_CANDIDATES_MAX + 1}
        with self._connection() as connection:
            found = list(_rows(connection, _EXACT, values))
            if not found and values["text"]:
                found = list(_rows(connection, _PARTIAL, values))
        if not found:
            raise ControlError(
                "not_found", f"cannot show report {text}: no such report", "see: sng crashes"
            )
        if len(found) > 1:
            shown = ", ".join(report_id for report_id, _ in found[: limits.REPORT_CANDIDATES_MAX])
            more = " and more" if len(found) > limits.REPORT_CANDIDATES_MAX else ""
            raise ControlError(
                "bad_request",
                f"cannot show report {text}: several fit",
                f"did you mean: {shown}{more}",
            )
        return self._decode(*found[0])

    def stats(self) -> Stats:
        """Return the counts by fingerprint. `waiting` is 0: only the writer knows what waits."""
        with self._connection() as connection:
            counters = dict(_rows(connection, "SELECT name, value FROM counter"))
            counts = [
                FingerprintCount(
                    path=path,
                    reason=reason,
                    context=Context(context),
                    frame=frame,
                    count=count,
                    first=first,
                    last=last,
                )
                for path, reason, context, frame, count, first, last in _rows(connection, _GROUPED)
            ]
        return Stats(
            stored=sum(one.count for one in counts),
            waiting=0,
            dropped=counters.get("dropped", 0),
            expired=counters.get("expired", 0),
            fingerprints=merge(counts),
        )

    def incarnations(self) -> dict[str, int]:
        """Return the last incarnation number saved for each path."""
        with self._connection() as connection:
            return dict(_rows(connection, "SELECT path, last FROM incarnation"))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """One connection in one read transaction, so that several queries see one state."""
        try:
            with closing(database.connect_reader(self._path)) as connection:
                connection.execute("BEGIN")
                yield connection
        except sqlite3.Error as error:
            raise StoreError(f"cannot read reports: {error}: {self._path}") from error

    def _decode(self, report_id: str, body: bytes) -> CrashReport:
        try:
            return _DECODER.decode(body)
        except msgspec.MsgspecError as error:
            raise StoreError(f"cannot read report {report_id}: {error}: {self._path}") from error


def _rows(
    connection: sqlite3.Connection,
    query: str,
    values: Mapping[str, Any] = _NO_VALUES,
) -> Iterable[Any]:
    """Run a query; an empty file has no rows and no tables."""
    return [] if database.is_empty(connection) else connection.execute(query, values)
