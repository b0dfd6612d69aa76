"""The daemon: ``supervisord-ng -c TREE.toml``. Parses its arguments and joins the parts, in `service`."""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import functools
import os
import sys
from collections.abc import Sequence

import supervisord_ng
from supervisord_ng.errors import EXIT_CONFIG, EXIT_FAILED, ConfigError, SupervisordNGError


def main(argv: Sequence[str] | None = None) -> None:
    """Run the daemon in the foreground and exit.

    Exit status: 0 after an orderly stop, 70 when the root gave up or could not start or an invariant failed,
    78 when the configuration is wrong, 1 when the daemon could not begin (directories, lock, sockets).
    """
    if not __debug__:
        sys.exit("supervisord-ng: cannot run under python -O: its assertions are part of it")
    options = _parse(argv)
    if options.after_stop is not None:
        from supervisord_ng.daemon.aftermath import after_stop

        sys.exit(after_stop(options.after_stop, options.runtime_dir))
    if options.check_takeover:
        from supervisord_ng.daemon.takeover import check

        sys.exit(check(options))
    sys.exit(run(options))


def run(options: argparse.Namespace) -> int:
    """Load the tree and supervise it; return the exit status."""
    from supervisord_ng import config
    from supervisord_ng.daemon.console import Console, longest_name, tree_width
    from supervisord_ng.daemon.log import make_logger
    from supervisord_ng.daemon.service import Daemon
    from supervisord_ng.runtime import descriptors, spawner
    from supervisord_ng.runtime.handover import Handover
    from supervisord_ng.runtime.systemd import Notifier

    inheritance = Handover.from_environ(os.environ)
    inheritance.hold_signals()
    faulthandler.enable(file=2)  # a watchdog that aborts us leaves the stack that we hung in
    descriptors.reserve()
    spawner.forget_inherited_signals()
    notifier = Notifier.from_environ(os.environ)
    load = functools.partial(
        config.load, runtime_dir=options.runtime_dir, state_dir=options.state_dir
    )
    try:
        loaded = load(options.config)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        # Whoever looks at `systemctl status` sees this; nobody listening is no reason to fail otherwise.
        notifier.status(f"configuration wrong: {error.problems[0]}")
        return EXIT_CONFIG
    tree = loaded.tree
    console = None
    level = tree.node.log_level
    if options.console:
        colour = Console.wants_colour(1, os.environ)
        console = Console(1, colour=colour, width=tree_width(longest_name(tree.root)))
        level = "error"  # the console tells the same in plain words
    log = make_logger(level, tree.node.log_format)
    for problem in loaded.warnings:
        print(f"warning: {problem}", file=sys.stderr)
    try:
        return asyncio.run(Daemon(tree, log, load, notifier, inheritance, console).run())
    except (SupervisordNGError, OSError) as error:
        print(f"supervisord-ng: {error}", file=sys.stderr)
        notifier.status(str(error))
        return EXIT_FAILED


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="supervisord-ng", description="Erlang/OTP supervision for operating-system processes."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-c", "--config", metavar="TREE.toml", help="the tree")
    what.add_argument(
        "--after-stop",
        metavar="UNIT",
        help="for ExecStopPost= of a systemd unit: end what a killed daemon left behind if the unit is being"
        " stopped, or make room for the next daemon; needs --runtime-dir",
    )
    parser.add_argument("--runtime-dir", metavar="DIR", help="sockets and lock; wins over the file")
    parser.add_argument("--state-dir", metavar="DIR", help="store and logs; wins over the file")
    parser.add_argument(
        "--check-takeover",
        action="store_true",
        help="say whether this version could replace the daemon that runs, and change nothing",
    )
    parser.add_argument(
        "--console", action="store_true", help="print workers' output and decisions for a person"
    )
    parser.add_argument("--version", action="version", version=supervisord_ng.__version__)
    options = parser.parse_args(argv)
    if options.after_stop is not None and options.runtime_dir is None:
        parser.error("argument --after-stop: needs --runtime-dir")
    return options
