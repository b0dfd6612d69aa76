"""From the tables of the files to the tree: reads every table, applies every rule, builds the specifications.

Problems are gathered, never raised: all of them are to be told at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from supervisord_ng.config import raw
from supervisord_ng.config.advice import advise
from supervisord_ng.config.arrange import Children, Sections, arrange
from supervisord_ng.config.build import WorkerBuilder, build_tree, check_files, scalable_of
from supervisord_ng.config.document import Document
from supervisord_ng.config.environment import EnvironmentFiles
from supervisord_ng.config.host import Host
from supervisord_ng.config.kinds import OpenTable, SubTable
from supervisord_ng.config.linkrules import check_links
from supervisord_ng.config.node import NodeBuilder, build_parent, build_reports
from supervisord_ng.config.places import Notes, Place
from supervisord_ng.config.rules import (
    Child,
    check_significant,
    check_significant_below,
    check_supervisor,
    check_template,
    check_worker,
)
from supervisord_ng.config.tables import Section, Table, fill, merge, missing, read_table
from supervisord_ng.limits import CHILDREN_MAX
from supervisord_ng.model import spec
from supervisord_ng.model.names import ROOT

T = TypeVar("T", bound=raw.Table)


def check(
    document: Document,
    host: Host,
    notes: Notes,
    runtime_dir: str | None = None,
    state_dir: str | None = None,
) -> spec.TreeSpec | None:
    """Check a whole configuration and build what it describes.

    Args:
        document: its tables.
        host: who asks, and where.
        notes: takes the problems and warnings.
        runtime_dir: wins over the file.
        state_dir: wins over the file.

    Returns:
        The tree; None when `notes` has a problem.
    """
    node_table = _single(document, "node", notes)
    node = NodeBuilder(node_table, host, notes).build(runtime_dir, state_dir)
    parent_table = _single(document, "parent", notes)
    parent = build_parent(parent_table)
    reports = build_reports(_single(document, "reports", notes))
    sections = _read_sections(document, notes)
    children = arrange(sections, notes)
    _apply_rules(sections, children, notes)
    check_links(node.listen, node_table, parent_table, sections.remotes, notes)
    files = EnvironmentFiles(notes, order=len(document.sources))
    builder = WorkerBuilder(node.log_dir, host, files, notes)
    workers = _build_workers(document, sections, builder, notes)
    if notes.problems:
        return None
    advise(sections, children, notes)
    return spec.TreeSpec(
        node=node,
        root=build_tree(children, workers, sections),
        parent=parent if ("parent",) in document.tables else None,
        reports=reports,
        source=document.main.path,
        scalable=scalable_of(children, builder.templates, sections),
    )


def _single(document: Document, scope: str, notes: Notes) -> Table:
    """[node], [parent] or [reports]; an empty table where the file has none."""
    struct = raw.SINGLE[scope]
    if (scope,) not in document.tables:
        return Table(Place(document.main, ()))
    found, place = document.tables[scope,]
    table = read_table(struct, found, place, scope, notes)
    _require(struct, table, notes)
    return table


def _read_sections(document: Document, notes: Notes) -> Sections:
    workers = _read(document, "worker", raw.Worker, notes)
    if any(document.named("supervisor")):
        supervisors = _read(document, "supervisor", raw.Supervisor, notes)
    else:
        supervisors = {ROOT: _implicit_root(document, workers, notes)}
    return Sections(workers, supervisors, _read(document, "remote", raw.Remote, notes))


def _read(document: Document, scope: str, struct: type[T], notes: Notes) -> dict[str, Section[T]]:
    """Every [scope.NAME], merged with [defaults.scope]."""
    defaults = _defaults(document, scope, struct, notes)
    sections = {}
    for name, (found, place) in document.named(scope):
        table = merge(read_table(struct, found, place, scope, notes), defaults)
        _require(struct, table, notes)
        sections[name] = Section(scope, name, table, fill(struct, table))
    return sections


def _defaults(document: Document, scope: str, struct: type[T], notes: Notes) -> Table | None:
    if ("defaults", scope) not in document.tables:
        return None
    found, place = document.tables["defaults", scope]
    return read_table(struct, found, place, scope, notes)


def _require(struct: type[raw.Table], table: Table, notes: Notes) -> None:
    for key in missing(struct, table):
        must = "" if isinstance(key.kind, SubTable | OpenTable) else f": {key.kind.must}"
        key_text = table.place.below(key.name).key
        notes.problem(table.place, f"cannot be left out{must}", key_text)


def _implicit_root(
    document: Document, workers: Iterable[str], notes: Notes
) -> Section[raw.Supervisor]:
    """The supervisor of all workers in a file that has no [supervisor.*] table."""
    table = Table(Place(document.main, ()))
    table.values["children"] = tuple(name for name in workers if name != ROOT)
    table = merge(table, _defaults(document, "supervisor", raw.Supervisor, notes))
    return Section("supervisor", ROOT, table, fill(raw.Supervisor, table))


def _apply_rules(sections: Sections, children: Children, notes: Notes) -> None:
    for worker in sections.workers.values():
        check_worker(worker, notes)
    everyone: dict[str, Section[Child]] = {one.name: one for one in sections.all()}
    for one in everyone.values():
        check_significant(one, notes)
    for name, supervisor in sections.supervisors.items():
        check_supervisor(supervisor, notes)
        for child in children.get(name, ()):
            check_significant_below(everyone[child], supervisor, notes)
            check_template(everyone[child], supervisor, notes)


def _build_workers(
    document: Document, sections: Sections, builder: WorkerBuilder, notes: Notes
) -> Mapping[str, tuple[spec.WorkerSpec, ...]]:
    """The specifications of every worker; none where there would be too many to build."""
    instances = [worker.said.instances for worker in sections.workers.values()]
    count = sum(1 if number is None else number for number in instances)
    if count > CHILDREN_MAX:
        text = (
            f"cannot have {count} workers, all instances together: must be at most {CHILDREN_MAX}"
        )
        notes.problem(Place(document.main, ()), text)
        return {}
    workers = {name: builder.build(worker) for name, worker in sections.workers.items()}
    check_files(workers, sections, notes)
    return workers
