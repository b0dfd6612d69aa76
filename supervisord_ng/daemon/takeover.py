"""Whether this version, with the configuration as it is now, could go on with the tree of a running daemon.

Asked by that daemon, of whatever its command line would start now, before it lets itself be replaced
(``--check-takeover``). Touches nothing. What a person should know goes to standard error, what the daemon needs
to standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

import supervisord_ng
from supervisord_ng import config
from supervisord_ng.core import machine
from supervisord_ng.errors import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, ConfigError, StoreError
from supervisord_ng.model import paths
from supervisord_ng.model.spec import TreeSpec
from supervisord_ng.reports import journal
from supervisord_ng.runtime import clock, procfs


def check(options: argparse.Namespace) -> int:
    """Load the tree and the journal, and go on with them in thought; return the exit status."""
    try:
        tree = config.load(
            options.config, runtime_dir=options.runtime_dir, state_dir=options.state_dir
        ).tree
    except ConfigError as error:
        sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
        return EXIT_CONFIG
    try:
        why_not = _why_not(tree)
    except StoreError as error:
        why_not = str(error)
    if why_not is not None:
        sys.stderr.write(f"{why_not}\n")
        return EXIT_FAILED
    node = tree.node
    told = {"runtime_dir": node.runtime_dir, "state_dir": node.state_dir, "node": node.name}
    sys.stdout.write(json.dumps(told | {"version": supervisord_ng.__version__}) + "\n")
    return EXIT_OK


def _why_not(tree: TreeSpec) -> str | None:
    recalled = journal.read(os.path.join(tree.node.state_dir, paths.STORE))
    if recalled is None or recalled.boot != procfs.boot_id():
        return "there is no journal of a running daemon"
    if recalled.memory.node.root != tree.root.name:
        return "the root supervisor has another name"
    if not recalled.memory.is_of_a_life(has_parent=tree.parent is not None):
        return "the tree has ended or is ending"
    now = clock.monotonic_ns()
    machine.resume(tree.root, recalled.memory, seed=0, now=now, incarnations={}, parent=tree.parent)
    return None
