"""Rules about the links to other nodes: where nodes below connect, whose key is whose, beats and silence."""

from __future__ import annotations

from collections.abc import Mapping

from supervisord_ng.config import raw
from supervisord_ng.config.explain import quoted, show
from supervisord_ng.config.places import Notes
from supervisord_ng.config.tables import Section, Table
from supervisord_ng.config.units import format_duration
from supervisord_ng.limits import LINK_INTERVAL_MIN_NS

Remotes = Mapping[str, Section[raw.Remote]]


def check_links(
    listen: str | None, node: Table, parent: Table, remotes: Remotes, notes: Notes
) -> None:
    """Find what is wrong between [node], [parent] and every [remote.NAME].

    Args:
        listen: what node.listen says.
        node: the table [node].
        parent: the table [parent], empty where there is none.
        remotes: every [remote.NAME].
        notes: takes the problems.
    """
    _check_heartbeat(parent, "parent", notes)
    owners: dict[str, Section[raw.Remote]] = {}
    for remote in remotes.values():
        _check_heartbeat(remote.table, remote.key(), notes)
        if listen is None and node.is_sound("listen"):
            text = (
                'can never connect: node.listen is not set (such as listen = "tcp://0.0.0.0:7700")'
            )
            remote.problem(notes, text)
        if not remote.said.public_key:
            continue  # missing or refused, and told
        other = owners.setdefault(remote.said.public_key, remote)
        if other is not remote:
            text = f"cannot be {show(remote.said.public_key)}: {other.key()} has it"
            text = f"{text} ({other.place('public_key')}), and a key stands for one node"
            remote.problem(notes, text, "public_key")


def _check_heartbeat(table: Table, key: str, notes: Notes) -> None:
    heartbeat = table.inner("heartbeat")
    if heartbeat is None or not heartbeat.is_sound("interval", "timeout"):
        return
    default = raw.LinkHeartbeat()
    interval = heartbeat.values.get("interval", default.interval)
    timeout = heartbeat.values.get("timeout", default.timeout)
    written = quoted(format_duration(interval))
    where, name = heartbeat.place_of("interval"), f"{key}.heartbeat.interval"
    if interval < LINK_INTERVAL_MIN_NS:
        least = quoted(format_duration(LINK_INTERVAL_MIN_NS))
        notes.problem(where, f"cannot be {written}: must be at least {least}", name)
    elif interval >= timeout:
        text = f"must be less than timeout, which is {quoted(format_duration(timeout))}"
        notes.problem(where, f"cannot be {written}: {text}", name)
