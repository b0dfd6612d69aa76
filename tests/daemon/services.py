"""Trees with real servers, unmodified, as docs/readiness.md advises to run them; for tests."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from tests.daemon.node import Node
from tests.needs import require_program

NOBODY = pwd.getpwnam("nobody")
# Root may not run postgres; and the others need not be root either.
AS_NOBODY = 'user = "nobody"\n' if os.geteuid() == 0 else ""

APPLICATION = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello from gunicorn"]
"""

NGINX = """
daemon off;
pid {directory}/nginx.pid;
error_log stderr;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{behind}; }}
        location = /alive {{ return 204; }}
    }}
}}
"""


HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend front
    bind 127.0.0.1:{port}
    monitor-uri /alive
    default_backend back
backend back
    server one 127.0.0.1:{behind}
"""


def free_ports(count: int) -> list[int]:
    """Ports of this host that nobody listens on, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def directory_of_nobody(parent: Path, name: str) -> Path:
    """A directory in which the servers may write."""
    parent.chmod(0o755)
    made = parent / name
    made.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(made, NOBODY.pw_uid, NOBODY.pw_gid)
    return made


def redis(directory: Path, port: int) -> str:
    """Redis says itself when it is ready; whether it still answers is asked as its own client would."""
    server, client = require_program("redis-server"), require_program("redis-cli")
    own = directory_of_nobody(directory, "redis")
    return f"""
[worker.redis]
command = [
    "{server}", "--port", "{port}", "--bind", "127.0.0.1", "--supervised", "systemd",
    "--dir", "{own}", "--save", "",
]
ready = "notify"
{AS_NOBODY}
[worker.redis.liveness]
exec = ["{client}", "-p", "{port}", "ping"]
interval = "300ms"
timeout = "500ms"
failures = 2
"""


def postgres(directory: Path, port: int) -> str:
    """PostgreSQL, built with systemd's protocol; INT is its fast shutdown, TERM waits for clients."""
    programs = _postgres_programs()
    own = directory_of_nobody(directory, "postgres")
    initdb = [f"{programs}/initdb", "--no-sync", "-A", "trust", "-U", "postgres", "-D", str(own)]
    user = NOBODY.pw_uid if AS_NOBODY else None
    subprocess.run(initdb, check=True, capture_output=True, user=user)
    return f"""
[worker.postgres]
command = ["{programs}/postgres", "-D", "{own}", "-p", "{port}", "-k", "{own}", "-h", "127.0.0.1", "-F"]
ready = "notify"
ready_timeout = "60s"
stop_signal = "INT"
shutdown = "30s"
{AS_NOBODY}
[worker.postgres.liveness]
exec = ["{programs}/pg_isready", "-q", "-h", "{own}", "-p", "{port}"]
interval = "1s"
timeout = "2s"
"""


def _postgres_programs() -> Path:
    """Where they are: Debian keeps them out of the way, one directory for each version."""
    kept = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return kept[-1] if kept else Path(require_program("postgres")).resolve().parent


def gunicorn(directory: Path, port: int) -> str:
    """Gunicorn says READY=1 before its workers have loaded the application, so a page is asked for."""
    own = directory_of_nobody(directory, "gunicorn")
    (directory / "application.py").write_text(APPLICATION)
    return f"""
[worker.gunicorn]
command = [
    "{sys.executable}", "-m", "gunicorn", "application:application",
    "--bind", "127.0.0.1:{port}", "--workers", "2", "--worker-tmp-dir", "{own}", "--no-control-socket",
]
directory = "{directory}"
ready = {{ http = "http://127.0.0.1:{port}/" }}
liveness = {{ http = "http://127.0.0.1:{port}/", interval = "1s", timeout = "2s" }}
shutdown = "30s"
environment = {{ PYTHONDONTWRITEBYTECODE = "1" }}
{AS_NOBODY if AS_NOBODY and _is_python_for_all() else ""}"""


def nginx(directory: Path, port: int, behind: int) -> str:
    """Nginx, which knows nothing of readiness, in the foreground; QUIT lets it finish what it serves."""
    own = directory_of_nobody(directory, "nginx")
    (directory / "nginx.conf").write_text(NGINX.format(directory=own, port=port, behind=behind))
    return f"""
[worker.nginx]
command = ["{require_program("nginx")}", "-e", "stderr", "-p", "{own}", "-c", "{directory}/nginx.conf"]
ready = {{ http = "http://127.0.0.1:{port}/alive" }}
liveness = {{ http = "http://127.0.0.1:{port}/alive", interval = "300ms", timeout = "500ms", failures = 2 }}
stop_signal = "QUIT"
shutdown = "30s"
{AS_NOBODY}"""


def haproxy(directory: Path, port: int, behind: int) -> str:
    """HAProxy, master and worker; ended by TERM, which waits for nobody."""
    own = directory_of_nobody(directory, "haproxy")
    (directory / "haproxy.cfg").write_text(HAPROXY.format(port=port, behind=behind))
    return f"""
[worker.haproxy]
command = ["{require_program("haproxy")}", "-Ws", "-C", "{own}", "-f", "{directory}/haproxy.cfg"]
ready = "notify"
liveness = {{ http = "http://127.0.0.1:{port}/alive", interval = "300ms", timeout = "500ms", failures = 2 }}
shutdown = "30s"
{AS_NOBODY}"""


def _is_python_for_all() -> bool:
    """Whether nobody may run this very Python, which may be in root's home."""
    try:
        subprocess.run([sys.executable, "-c", ""], check=True, user=NOBODY.pw_uid)
    except PermissionError:
        return False
    return True


def processes_of(node: Node) -> list[psutil.Process]:
    """Every process below the daemon: what its workers orphan too, and the keeper of their output."""
    return psutil.Process(node.pid).children(recursive=True)
