"""Copies of books, for when the disk is behind and the daemon is killed: then the books are behind as well."""

from __future__ import annotations

from copy import copy
from typing import TypeVar

Books = TypeVar("Books")


def copied(books: Books) -> Books:
    """The books as they are now. What in them has a `copy` of its own is copied, all else is shared."""
    twin = copy(books)
    for name, value in vars(books).items():
        if hasattr(value, "copy"):
            setattr(twin, name, value.copy())
    return twin
