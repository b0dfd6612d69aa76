"""Runs the quickstart in the foreground and shows afterwards what it left behind; see README.md.

Only what a user has is used here: the daemon, and ``sng``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from types import FrameType
from typing import Any

from supervisord_ng.limits import SOCKET_PATH_MAX
from supervisord_ng.model import paths

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.join(HERE, "tree.toml")
PROGRAMS = os.path.dirname(sys.executable)  # of this virtual environment
STOP_S = 30  # the whole tree stops in far less


@dataclass(frozen=True)
class Places:
    """The directories of one run."""

    work: str
    state: str
    runtime: str

    @property
    def control(self) -> str:
        """The socket on which the daemon takes orders."""
        return os.path.join(self.runtime, paths.CONTROL_SOCKET)


def main() -> int:
    """Run, then look back. The exit status is the daemon's."""
    parser = argparse.ArgumentParser(description="run the quickstart tree in the foreground")
    parser.add_argument(
        "--seconds", type=float, default=0, help="end by itself (0: Ctrl-C ends it)"
    )
    parser.add_argument(
        "--dir", default="demo", help="where everything goes; emptied at each start"
    )
    arguments = parser.parse_args()
    places = prepare(os.path.abspath(arguments.dir))
    until = f"for {arguments.seconds:g} seconds" if arguments.seconds else "until Ctrl-C"
    say(f"{shown(TREE)} runs here {until}.")
    say("Meanwhile, in a second terminal:")
    say(f"    {shown(sng())} --runtime-dir {shown(places.runtime)} status")
    say("")
    status = run(places, arguments.seconds)
    if status == 0:
        look_back(places)
    return status


def prepare(base: str) -> Places:
    """Make empty directories below `base`; refuse where a demo runs already."""
    places = Places(*(os.path.join(base, name) for name in ("work", "state", "run")))
    if len(os.path.join(places.runtime, paths.HEARTBEAT_SOCKET)) > SOCKET_PATH_MAX:
        places = Places(places.work, places.state, tempfile.mkdtemp(prefix="sng-demo-"))
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(places.control)
        sys.exit(f"cannot start the demo: one is running already, in {shown(base)}")
    for place in (places.work, places.state, places.runtime):
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(place)
    return places


def run(places: Places, seconds: float) -> int:
    """Run the daemon until it ends, Ctrl-C is pressed or `seconds` are over (0: for ever)."""
    command = [os.path.join(PROGRAMS, "supervisord-ng"), "--console", "-c", TREE]
    directories = ["--runtime-dir", places.runtime, "--state-dir", places.state]
    environment = os.environ | {
        "PATH": PROGRAMS + os.pathsep + os.environ.get("PATH", os.defpath),
        "QUICKSTART_DIR": places.work,
    }
    daemon = subprocess.Popen(command + directories, env=environment)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        daemon.send_signal(number)

    # Ctrl-C reaches the daemon by itself, since both are in the terminal's foreground group.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    signal.signal(signal.SIGTERM, pass_on)
    try:
        return daemon.wait(timeout=seconds or None)
    except subprocess.TimeoutExpired:
        say(f"\n{seconds:g} seconds are over: this is Ctrl-C\n")
        return stop(daemon)


def stop(daemon: subprocess.Popen[bytes]) -> int:
    """End the daemon in order; by force when it does not end, which would be a bug."""
    daemon.send_signal(signal.SIGINT)
    try:
        return daemon.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        return daemon.wait()


def look_back(places: Places) -> None:
    """Show the crash reports, and the one of the hang in full."""
    crashes = [sng(), "--state-dir", shown(places.state), "crashes"]
    say(f"\nWhat it left behind: reports in {shown(os.path.join(places.state, paths.STORE))}")
    say(f"                     output of the workers in {shown(os.path.join(places.state, 'log'))}")
    show(crashes)
    for report in reports(crashes):
        if report["reason"] == "heartbeat_timeout":
            say("\nThe hang, and where it hung:")
            show([*crashes, "show", report["id"]])
            break


def reports(crashes: list[str]) -> list[dict[str, Any]]:
    """Every report, newest first."""
    answer = subprocess.run([*crashes, "--json"], check=True, stdout=subprocess.PIPE)
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


def show(command: list[str]) -> None:
    """Run a command as if a person had typed it."""
    say("\n$ " + " ".join([shown(command[0]), *command[1:]]))
    subprocess.run(command, check=True)


def sng() -> str:
    """The control CLI of this virtual environment."""
    return os.path.join(PROGRAMS, "sng")


def shown(path: str) -> str:
    """A path as a person would type it: relative where that is shorter."""
    return min(path, os.path.relpath(path), key=len)


def say(text: str) -> None:
    """Print a line at once, so that it stands where it belongs among the daemon's own."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
