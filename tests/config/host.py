"""A host for the tests of the configuration that is the same everywhere: an ordinary user's, in English."""

from __future__ import annotations

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
