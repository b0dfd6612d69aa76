"""Incarnation numbers on the disk: none is ever used twice, and no restart waits for that.

A block of numbers is reserved ahead. A daemon that ends in order leaves exact numbers in the journal; after one
that was killed, what it had reserved counts as used, because the disk may have been behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from supervisord_ng import limits

Save = Callable[[Mapping[str, int]], None]
"""Remembers the highest number that may be in use, by path; returns at once."""


class Numbers:
    """Of all children of one node.

    Args:
        reserved: what the disk says.
        save: makes the disk say so.
    """

    def __init__(self, reserved: Mapping[str, int], save: Save) -> None:
        self._reserved = dict(reserved)
        self._save = save

    def use(self, path: str, number: int) -> None:
        """A child is started under this number; reserve more when half of a block is used up."""
        if number > self._reserved.get(path, 0) - limits.INCARNATIONS_RESERVED // 2:
            self._reserved[path] = number + limits.INCARNATIONS_RESERVED
            self._save({path: self._reserved[path]})
