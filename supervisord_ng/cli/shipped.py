"""Files that come with the package: units, example trees, completions.

In an installation they lie below `share` in the package, in a clone of the sources at its top (pyproject.toml,
force-include).
"""

from __future__ import annotations

import os

import supervisord_ng
from supervisord_ng.errors import SupervisordNGError

_PACKAGE = os.path.dirname(os.path.abspath(supervisord_ng.__file__))


def path_of(name: str) -> str:
    """Where `name` lies, "systemd/supervisord-ng.service" for example.

    Raises:
        SupervisordNGError: it is nowhere; the installation is incomplete.
    """
    for top in (os.path.join(_PACKAGE, "share"), os.path.dirname(_PACKAGE)):
        path = os.path.join(top, name)
        if os.path.exists(path):
            return path
    raise SupervisordNGError(f"cannot find {name} in {_PACKAGE}: the installation is incomplete")


def read(name: str) -> str:
    """The text of a file.

    Raises:
        SupervisordNGError: it is nowhere.
    """
    with open(path_of(name), encoding="utf-8") as file:
        return file.read()
