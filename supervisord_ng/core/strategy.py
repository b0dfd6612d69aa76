"""Which children a restart stops and starts, and in what order. supervisor(3), "Supervision Principles"."""

from __future__ import annotations

from collections.abc import Iterable

from supervisord_ng.model.spec import Strategy


def scope(strategy: Strategy, names: Iterable[str], child: str) -> tuple[str, ...]:
    """The children that are restarted together with `child`, itself included, in start order.

    one_for_one and simple_one_for_one: the child alone. one_for_all: everyone. rest_for_one: the child and
    those after it. They are started in this order and stopped in the reverse of it.
    """
    if strategy is Strategy.ONE_FOR_ALL:
        return tuple(names)
    if strategy is Strategy.REST_FOR_ONE:
        order = tuple(names)
        return order[order.index(child) :]
    return (child,)
