"""Who is whose child: names, the children of every supervisor, and that together they are one tree.

Only names are looked at here. What each child is, and whether its keys are right, is told elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from supervisord_ng.config import raw
from supervisord_ng.config.explain import did_you_mean, nearest, quoted, show, with_hint
from supervisord_ng.config.places import Notes
from supervisord_ng.config.tables import Section
from supervisord_ng.limits import TREE_DEPTH_MAX
from supervisord_ng.model.names import NAME_RULE, ROOT, base_name, is_name


class Sections(msgspec.Struct):
    """Every named table of the configuration, in the order of the files."""

    workers: dict[str, Section[raw.Worker]]
    supervisors: dict[str, Section[raw.Supervisor]]
    remotes: dict[str, Section[raw.Remote]]

    def all(self) -> list[Section[Any]]:
        """All of them, supervisors first."""
        return [*self.supervisors.values(), *self.workers.values(), *self.remotes.values()]

    def in_file_order(self) -> list[Section[Any]]:
        """All of them, as they stand in the files."""

        def position(section: Section[Any]) -> tuple[int, int]:
            place = section.place()
            return place.source.order, place.line or 0

        return sorted(self.all(), key=position)


_NAMES_SHOWN = 10

Children = Mapping[str, Sequence[str]]
"""The children of each supervisor that the root reaches, in start order."""


def arrange(sections: Sections, notes: Notes) -> Children:
    """Find the children of every supervisor.

    Returns:
        A tree with the root "root", if `notes` has no problem; else what could be made of it.
    """
    _check_names(sections, notes)
    if ROOT not in sections.supervisors:
        _no_root(sections, notes)
        return {}
    return _Arrangement(sections, notes).run()


def _check_names(sections: Sections, notes: Notes) -> None:
    taken: dict[str, Section[Any]] = {}
    for section in sections.in_file_order():
        name = section.name
        if not is_name(name):
            section.problem(notes, f"cannot have this name: must be {NAME_RULE}")
        elif name == ROOT and section.scope != "supervisor":
            text = f"cannot have this name: it is reserved for [supervisor.{ROOT}], the top of the tree"
            section.problem(notes, text)
        elif name in taken:
            other = taken[name]
            text = f"cannot have this name: {other.key()} has it ({other.place()})"
            section.problem(notes, f"{text}; a name is used once in a node")
        taken.setdefault(name, section)


def _no_root(sections: Sections, notes: Notes) -> None:
    listed = {name for one in sections.supervisors.values() for name in one.said.children}
    top = [section.name for section in sections.all() if section.name not in listed]
    first = next(iter(sections.supervisors.values()))
    text = f"cannot be placed in the tree: there is no [supervisor.{ROOT}]"
    hint = f"add it, with children = {show(top)}" if top else None
    first.problem(notes, with_hint(text, hint))


class _Arrangement:
    """One walk over the supervisors, the root first, that gives every child its one supervisor."""

    def __init__(self, sections: Sections, notes: Notes) -> None:
        self.supervisors = sections.supervisors
        self.sections = sections
        self.notes = notes
        self.names = {section.name for section in sections.all()} - {ROOT}
        self.parents: dict[str, str] = {}
        self.children: dict[str, list[str]] = {}
        self.meant: set[str] = set()  # names that an unknown child was probably meant to be

    def run(self) -> Children:
        for name in (ROOT, *self.supervisors):
            if name not in self.children:
                self.walk(name)
        self.check_listed()
        self.check_depth()
        return self.children

    def walk(self, top: str) -> None:
        """Take the children of `top` and, depth first, of the supervisors below it."""
        path: dict[str, None] = {}  # in order, as a dict for its quick `in`
        # A name on the stack is a supervisor to enter; None leaves the one entered last.
        stack: list[str | None] = [top]
        while stack:
            name = stack.pop()
            if name is None:
                path.popitem()
            elif name not in self.children:
                path[name] = None
                taken = self.take(name, path)
                inner = [child for child in reversed(taken) if child in self.supervisors]
                stack.extend((None, *inner))

    def take(self, name: str, path: Mapping[str, None]) -> list[str]:
        """The children that `name`, at the end of `path`, really gets."""
        taken = self.children[name] = []
        for child in self.supervisors[name].said.children:
            refusal = self.refusal(name, child, path)
            if refusal is None:
                self.parents[child] = name
                taken.append(child)
            else:
                text = f"cannot have {show(child)}{refusal}"
                self.supervisors[name].problem(self.notes, text, "children")
        return taken

    def refusal(self, name: str, child: str, path: Mapping[str, None]) -> str | None:
        if child == ROOT:
            return ": it is the top of the tree"
        if child not in self.names:
            return self.unknown(child)
        if child in path:
            names = list(path)
            cycle = " -> ".join((*names[names.index(child) :], child))
            self.meant.add(child)
            return f": no supervisor can be below itself: {cycle}"
        other = self.parents.get(child)
        if other == name:
            return " twice: a child is started once (instances = 2 starts two)"
        if other is not None:
            section = self.supervisors[other]
            where = f"{section.key('children')} has it ({section.place('children')})"
            return f": {where}; a child has one supervisor"
        return None

    def unknown(self, child: str) -> str:
        base = base_name(child)
        if base != child and base in self.names:
            hint: str | None = f"list {quoted(base)}; its instances stand in its place"
            self.meant.add(base)
        else:
            hint = did_you_mean(child, sorted(self.names))
            self.meant.add(nearest(child, sorted(self.names)) or child)
        text = ": no worker, supervisor or remote has this name"
        if hint is None:
            known = sorted(self.names)
            more = ", ..." if len(known) > _NAMES_SHOWN else ""
            text = f"{text}, only {', '.join(map(quoted, known[:_NAMES_SHOWN]))}{more}"
        return with_hint(text, hint)

    def check_listed(self) -> None:
        """Every table has a supervisor, unless some list of children could not be read at all."""
        if any("children" not in one.table.values for one in self.supervisors.values()):
            return
        for section in self.sections.all():
            name = section.name
            if name == ROOT or name in self.parents or name in self.meant or not is_name(name):
                continue
            text = (
                f"cannot be placed: it is in no supervisor's children (add {quoted(name)} to one)"
            )
            section.problem(self.notes, text)

    def check_depth(self) -> None:
        for name, section in self.supervisors.items():
            depth, above = 1, self.parents.get(name)
            while above is not None and depth <= TREE_DEPTH_MAX:
                depth, above = depth + 1, self.parents.get(above)
            if depth > TREE_DEPTH_MAX and above is None:
                text = f"cannot be {depth} supervisors deep: must be at most {TREE_DEPTH_MAX}"
                section.problem(self.notes, text)
