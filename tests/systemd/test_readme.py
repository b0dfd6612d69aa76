"""The README's way from nothing to a service, line by line."""

from __future__ import annotations

import json
import re

import pytest

from tests.support import eventually
from tests.systemd.conftest import REPOSITORY, Installation
from tests.systemd.machine import DONE_TIMEOUT_S, Machine

BLOCK = re.compile(r"^## As a service$.*?^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACE = "/opt/supervisord-ng"

pytestmark = [pytest.mark.systemd, pytest.mark.process, pytest.mark.root]


def test_the_readmes_lines_lead_to_a_service(machine: Machine, installation: Installation) -> None:
    """From an empty environment to a worker's crash report."""
    found = BLOCK.search((REPOSITORY / "README.md").read_text())
    assert found is not None
    lines = [line.partition(" #")[0].strip() for line in found[1].splitlines()]
    # What the fixture has done already, in another place and without a download.
    assert [
        f"python3 -m venv {PLACE}",
        f"{PLACE}/bin/pip install supervisord_ng-*.whl",
        f"PATH={PLACE}/bin:$PATH",
    ] == lines[:3]

    def type_in(line: str) -> str:
        return machine.run("sh", "-c", f"PATH={installation.python.parent}:$PATH; {line}").stdout

    wrote, *commands = [type_in(line) for line in lines[3:6]][-1].splitlines()
    assert "wrote /etc/systemd/system/supervisord-ng.service; now type" == wrote
    assert [line.strip() for line in commands] == lines[6:8]
    status = [type_in(line) for line in lines[6:9]][-1]
    assert 'Status: "3 of 3 workers running"' in status
    try:
        *_, kill, read = lines
        assert ("sng signal KILL tick", "sng crashes tick") == (kill, read)
        type_in(kill)
        eventually(lambda: "signal:SIGKILL" in type_in(read), "its report", DONE_TIMEOUT_S)
        (report,) = json.loads(type_in(f"{read} --json"))
        shown = type_in(f"sng crashes show {report['id']}")
        assert "root/pool/tick crashed: signal:SIGKILL" in shown
    finally:
        machine.systemctl("stop", "supervisord-ng")
    assert [] == machine.processes("supervisord-ng.service")
