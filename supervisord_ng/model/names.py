"""Names of children and their paths in the tree of one node ("root/pool/resize@2")."""

from __future__ import annotations

import re
from functools import lru_cache

from supervisord_ng.limits import CHILDREN_MAX, NAME_LENGTH_MAX

ROOT = "root"
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
NAME_RULE = (
    f"letters, digits, '_', '.', '-', first a letter or digit, at most {NAME_LENGTH_MAX} characters"
)


def is_name(text: str) -> bool:
    """Say whether `text` may name a worker, supervisor, remote or node."""
    return len(text) <= NAME_LENGTH_MAX and NAME_PATTERN.fullmatch(text) is not None


def instance_name(base: str, number: int) -> str:
    """The name of one of several instances: ``instance_name("resize", 2) == "resize@2"``."""
    return f"{base}@{number}"


def base_name(name: str) -> str:
    """The name that the configuration uses: "resize" for "resize@2"."""
    return name.partition("@")[0]


def join(supervisor: str, name: str) -> str:
    """The path of child `name` below the supervisor with path `supervisor`."""
    return f"{supervisor}/{name}"


@lru_cache(maxsize=CHILDREN_MAX)  # every step of the core asks, for the same few paths
def parent(path: str) -> str:
    """The path of the supervisor of `path`; the empty string for the root."""
    return path.rpartition("/")[0]


@lru_cache(maxsize=CHILDREN_MAX)
def leaf(path: str) -> str:
    """The last part of `path`, the child's own name."""
    return path.rpartition("/")[2]
