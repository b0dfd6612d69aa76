"""The worker without SDK that docs/worker-protocol.md shows must be one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supervisord_ng.wire.heartbeat import Beat, Hello, Ready, Stopping
from tests.listening import Listening

PAGE = Path(__file__).parents[2] / "docs" / "worker-protocol.md"


@pytest.mark.process
def test_the_worker_of_the_documentation_works(short_dir: Path) -> None:
    """It says hello, ready and beats at the interval that it is told, and ends when asked."""
    text = PAGE.read_text(encoding="utf-8")
    programs: list[str] = re.findall(r"```python\n(import.*?)```", text, re.DOTALL)
    (program,) = programs

    with Listening(short_dir) as daemon, daemon.start(program) as process:
        daemon.wait_for(Beat, 5)
        assert daemon.call(lambda: daemon.server.send_stop(daemon.token, 1000))
        daemon.wait_for(Stopping)
        assert ("", "", 0) == (*process.communicate(timeout=60), process.returncode)

        assert [Hello(process.pid)] == daemon.of(Hello)
        assert [Ready()] == daemon.of(Ready)
