"""What the tests of the configuration share: a host that is the same everywhere, settings of hypothesis."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from supervisord_ng.config.host import Host

HOST = Host(
    environ={
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/home/app",
        "LANG": "C.UTF-8",
        "LC_TIME": "de_DE.UTF-8",
        "EDITOR": "vi",
        "XDG_RUNTIME_DIR": "/run/user/1000",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "SNG_TOKEN": "of another daemon",
    },
    name="testhost",
    user=1000,
    group=1000,
)

# The tests share a slow machine with others: how long an example takes is no failure.
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
