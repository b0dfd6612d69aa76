"""The daemon goes, its workers stay: crash, hang and upgrade under the units, with each worker running once."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support import eventually
from tests.systemd.conftest import Installation
from tests.systemd.machine import DONE_TIMEOUT_S, Machine
from tests.systemd.service import SLEEPERS, TWO, Service

ROUNDS = int(os.environ.get("ROUNDS", "1"))


pytestmark = [pytest.mark.systemd, pytest.mark.process, pytest.mark.root]


def test_workers_outlive_a_killed_daemon(machine: Machine, installation: Installation) -> None:
    """kill -9: systemd starts the next daemon, which finds every worker under its old pid, once."""
    settings = "[Unit]\nStartLimitBurst=1000"
    with Service(machine, installation, "killed", TWO, settings) as service:
        service.start()
        before = service.pids()
        for number in range(1, ROUNDS + 1):
            machine.kill_main(service.unit, signal.SIGKILL)
            service.wait_restarted(number)

            assert before == service.pids()
            assert SLEEPERS == service.sleepers()


def test_workers_outlive_a_hung_daemon(machine: Machine, installation: Installation) -> None:
    """SIGSTOP: the watchdog ends the daemon, the next has its workers; the journal has the stack it hung in."""
    with Service(machine, installation, "watched", TWO, "[Service]\nWatchdogSec=5s") as service:
        service.start()
        before = service.pids()

        machine.kill_main(service.unit, signal.SIGSTOP)
        service.wait_restarted(1)

        assert before == service.pids()
        assert SLEEPERS == service.sleepers()
        assert "Fatal Python error: Aborted" in machine.journal(service.unit)


def test_workers_with_limits_outlive_a_killed_daemon(
    machine: Machine, installation: Installation
) -> None:
    """A cgroup that hands controllers on takes no process, so they are taken back before the next start."""
    with Service(machine, installation, "limited", TWO) as service:
        service.start()
        (cgroup,) = machine.cgroups(service.unit)
        (own,) = cgroup.glob("supervisord-ng-*")
        (own / "daemon").mkdir()
        # As the daemon does where a worker has `resources`, for whatever controller this host has to offer.
        for pid in (cgroup / "cgroup.procs").read_text().split():
            (own / "daemon" / "cgroup.procs").write_text(pid)
        if not machine.hand_on_controllers(cgroup):
            pytest.skip("this host cannot: no controller of version 2")

        before = service.pids()

        machine.kill_main(service.unit, signal.SIGKILL)
        service.wait_restarted(1)

        assert before == service.pids()


def test_the_daemon_is_upgraded_in_place(machine: Machine, installation: Installation) -> None:
    """The unit notices nothing: same main process, still watched, still able to be stopped."""
    settings = "[Service]\nWatchdogSec=10min"  # the old daemon beats once, so the next beat is the new one's
    with Service(machine, installation, "new", TWO, settings) as service:
        service.start()
        before, main = service.pids(), service.show("MainPID")
        beat = service.show("WatchdogTimestampMonotonic")

        service.sng("upgrade")
        eventually(
            lambda: service.show("WatchdogTimestampMonotonic") != beat,
            "the new daemon beats",
            DONE_TIMEOUT_S,
        )
        machine.wait(service.unit, "active", "running")

        assert (main, "0") == (service.show("MainPID"), service.show("NRestarts"))
        assert "2 of 2 workers running" == service.show("StatusText")
        assert before == service.pids()
        assert SLEEPERS == service.sleepers()
        machine.systemctl("stop", service.unit)
        assert [] == machine.processes(service.unit)
