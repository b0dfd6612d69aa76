"""Several children out of one specification: the instances of a worker, and those of a template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from supervisord_ng.model.names import base_name, instance_name, join
from supervisord_ng.model.spec import (
    ChildSpec,
    Scalable,
    Strategy,
    SupervisorSpec,
    TreeSpec,
    WorkerSpec,
)


def instance_of(template: ChildSpec, name: str, arguments: tuple[str, ...] = ()) -> ChildSpec:
    """The template's specification as that of its instance `name`.

    The arguments are appended to the command, as in OTP's simple_one_for_one; the instance's log is its own.
    """
    if not isinstance(template, WorkerSpec):
        return replace(template, name=name)
    directory, slash, _ = template.log.file.rpartition("/")
    number = name.removeprefix(f"{template.name}@")
    return replace(
        template,
        name=name,
        instance=int(number) if number != name and number.isdecimal() else None,
        launch=replace(template.launch, command=(*template.launch.command, *arguments)),
        log=replace(template.log, file=f"{directory}{slash}{name}.log"),
    )


def scaled(tree: TreeSpec, counts: Mapping[str, int]) -> SupervisorSpec:
    """The tree with other numbers of instances than its file says.

    Args:
        tree: as the file says it.
        counts: how many, by name of a worker of `tree.scalable`.
    """
    return _scaled(tree, tree.root, tree.root.name, counts)


def _scaled(
    tree: TreeSpec, spec: SupervisorSpec, path: str, counts: Mapping[str, int]
) -> SupervisorSpec:
    here = {
        name: scalable
        for name, scalable in tree.scalable.items()
        if scalable.supervisor == path and name in counts
    }
    children: list[ChildSpec] = []
    if here:
        for name in next(iter(here.values())).siblings:
            known = [child for child in spec.children if base_name(child.name) == name]
            if name in here:
                children += _instances(here[name], known, counts[name])
            else:
                children += known
    else:
        children += spec.children
    if spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
        return spec
    return replace(
        spec,
        children=tuple(
            _scaled(tree, child, join(path, child.name), counts)
            if isinstance(child, SupervisorSpec)
            else child
            for child in children
        ),
        scaled=tuple((name, scalable.count, counts[name]) for name, scalable in here.items()),
    )


def _instances(scalable: Scalable, known: list[ChildSpec], count: int) -> Iterator[ChildSpec]:
    """Those that the file has, as they are there, then more of them."""
    yield from known[:count]
    for number in range(len(known) + 1, count + 1):
        yield instance_of(scalable.template, instance_name(scalable.template.name, number))
