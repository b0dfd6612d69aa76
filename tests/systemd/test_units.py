"""What the units promise about up, crash and stop, kept by a real systemd."""

from __future__ import annotations

import signal

import pytest

from tests.support import eventually
from tests.systemd.conftest import Installation
from tests.systemd.machine import DONE_TIMEOUT_S, Machine
from tests.systemd.service import TWO, Service

pytestmark = [pytest.mark.systemd, pytest.mark.process, pytest.mark.root]


def test_active_means_that_the_tree_is_up(machine: Machine, installation: Installation) -> None:
    """The unit is activating while the tree starts, and says what it waits for; then it is active."""
    tree = """
    [worker.quick]
    command = ["sleep", "86400"]

    [worker.gated]
    command = ["sleep", "86400"]
    ready = { exec = ["test", "-e", "/run/gate"] }
    ready_timeout = "10m"
    """
    with Service(machine, installation, "up", tree) as service:
        machine.systemctl("start", "--no-block", service.unit)
        starting = "starting: 1 of 2 workers running; starting: root/gated"
        eventually(lambda: service.show("StatusText") == starting, starting, DONE_TIMEOUT_S)
        assert ("activating", "start") == (service.show("ActiveState"), service.show("SubState"))

        machine.path("/run/gate").touch()
        machine.wait(service.unit, "active", "running")

        assert "2 of 2 workers running" == service.show("StatusText")


def test_a_tree_that_cannot_be_is_given_up(machine: Machine, installation: Installation) -> None:
    """Exit status 70 is tried again within the unit's limits; then it failed, and the status says why."""
    settings = "[Unit]\nStartLimitBurst=2"
    absent = '[worker.absent]\ncommand = ["/no/such/program"]'
    crashing = '[worker.crashing]\ncommand = ["false"]'
    with (
        Service(machine, installation, "absent", absent, settings) as first,
        Service(machine, installation, "crashing", crashing, settings) as second,
    ):
        machine.systemctl("start", "--no-block", first.unit, second.unit)
        for service, why in (
            (first, "root ended: its child absent could not be started (ENOENT)"),
            (second, "root/crashing"),
        ):
            machine.wait(service.unit, "failed", "failed")
            assert ("70", "2") == (service.show("ExecMainStatus"), service.show("NRestarts"))
            status = machine.systemctl("status", service.unit, check=False)
            assert why in status
            assert [] == machine.processes(service.unit)


def test_a_wrong_file_fails_at_once(machine: Machine, installation: Installation) -> None:
    """Exit status 78 is not tried again, and the status names the file, the line and the mistake."""
    with Service(machine, installation, "wrong", "[worker.a]\ncomand = 'true'") as service:
        machine.systemctl("start", service.unit, check=False)

        machine.wait(service.unit, "failed", "failed")
        assert ("78", "0") == (service.show("ExecMainStatus"), service.show("NRestarts"))
        status = machine.systemctl("status", service.unit, check=False)
        assert "/etc/supervisord-ng/wrong.toml:2" in status
        assert "comand" in status


def test_reload_changes_what_has_changed(machine: Machine, installation: Installation) -> None:
    """`systemctl reload` returns when it is done; a wrong file is refused, and nothing changes."""
    third = '[worker.third]\ncommand = ["sleep", "86404"]\n'
    more = TWO.replace('"second"]', '"second", "third"]') + third
    with Service(machine, installation, "reload", TWO) as service:
        service.start()
        before = service.pids()

        service.tree.write_text(more)
        machine.systemctl("reload", service.unit)
        after = service.pids()
        assert (before, True) == ({name: after[name] for name in before}, "third" in after)
        assert "3 of 3 workers running" == service.show("StatusText")

        service.tree.write_text(more.replace("command", "comand"))
        refused = machine.run("systemctl", "reload", service.unit, check=False)
        assert 0 != refused.returncode
        machine.wait(service.unit, "active", "running")
        assert after == service.pids()
        assert "comand" in machine.journal(service.unit)


def test_reload_touches_just_whom_diff_has_named(
    machine: Machine, installation: Installation
) -> None:
    """Of two hundred workers: one added, one removed, one changed, one changed harmlessly."""
    workers = {f"w{n}": f'[worker.w{n}]\ncommand = "sleep 86400"\n' for n in range(200)}
    with Service(machine, installation, "many", "".join(workers.values())) as service:
        service.start()
        before = service.pids()
        assert workers.keys() == before.keys()

        del workers["w0"]
        workers["w1"] += 'environment = { MODE = "fast" }\n'
        workers["w2"] += 'log = { max_bytes = "1M" }\n'
        workers["new"] = '[worker.new]\ncommand = "sleep 86400"\n'
        service.tree.write_text("".join(workers.values()))
        said = service.sng("diff", "/etc/supervisord-ng/many.toml", check=False).splitlines()
        assert "1 added, 1 removed, 1 restarted, 1 changed in place" == said[-1]
        named = {line.split()[1].removesuffix(":") for line in said[:-1] if line[0] in "+-!"}

        machine.systemctl("reload", service.unit)
        after = service.pids()
        differ = {name for name in before | after if before.get(name) != after.get(name)}
        assert {f"root/{name}" for name in differ} == {"root/w0", "root/w1", "root/new"} == named
        assert "200 of 200 workers running" == service.show("StatusText")


def test_stop_leaves_nothing(machine: Machine, installation: Installation) -> None:
    """No process, whatever it forked; no cgroup, no socket. What is to be kept is kept."""
    with Service(machine, installation, "stop", TWO) as service:
        service.start()
        assert len(machine.processes(service.unit)) >= 4  # the daemon, three sleepers

        machine.systemctl("stop", service.unit)

        assert ("inactive", "success") == (service.show("ActiveState"), service.show("Result"))
        assert [] == machine.processes(service.unit)
        assert [] == machine.cgroups(service.unit)
        assert not machine.path(service.runtime_dir).exists()
        assert machine.path("/var/lib/supervisord-ng-stop/store.sqlite").exists()
        assert machine.path("/var/log/supervisord-ng-stop").exists()


def test_a_long_stop_is_not_cut_short(machine: Machine, installation: Installation) -> None:
    """How long a stop takes is the tree's own business, as long as the daemon is alive."""
    tree = """
    [worker.slow]
    command = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
    shutdown = "4s"
    """
    settings = "[Service]\nTimeoutStopSec=2s\nWatchdogSec=3s"
    with Service(machine, installation, "slow", tree, settings) as service:
        service.start()

        machine.systemctl("stop", service.unit)

        assert ("inactive", "success") == (service.show("ActiveState"), service.show("Result"))
        assert [] == machine.processes(service.unit)


def test_a_stop_that_is_cut_off_leaves_nothing(
    machine: Machine, installation: Installation
) -> None:
    """A daemon that is killed while it stops its workers has them ended in its place."""
    tree = """
    [worker.stubborn]
    command = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
    shutdown = "infinity"
    """
    with Service(machine, installation, "cut", tree) as service:
        service.start()
        machine.systemctl("stop", "--no-block", service.unit)
        stopping = "stopping: 0 of 1 workers running; stopping: root/stubborn"
        eventually(lambda: service.show("StatusText") == stopping, stopping, DONE_TIMEOUT_S)
        machine.kill_main(service.unit, signal.SIGKILL)

        machine.wait(service.unit, "failed", "failed")

        assert [] == machine.processes(service.unit)
        assert [] == machine.cgroups(service.unit)
        assert not machine.path(service.runtime_dir).exists()
