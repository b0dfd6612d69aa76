"""Who may connect: the allow-list of public keys, asked by libzmq for each new connection.

ZAP, rfc.zeromq.org/spec/27: libzmq's I/O thread asks a socket inside of the process and waits with the
handshake until it is answered. The key comes with every message of the connection as its User-Id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container

import zmq
from zmq.utils import z85

from supervisord_ng.runtime.linksocket import Drained

ENDPOINT = "inproc://zeromq.zap.01"
DOMAIN = b"supervisord-ng"


class Gate:
    """Answers libzmq. There is one in a context, made before a socket is bound.

    Args:
        loop: the loop that reads; every method must be called from it.
        context: of the sockets that are guarded.
        allowed: public keys, in Z85. May change; looked at for each new connection.
        on_refused: called with the address and the key of whoever was turned away.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: zmq.Context[zmq.Socket[bytes]],
        allowed: Container[str],
        on_refused: Callable[[str, str], None],
    ) -> None:
        self._allowed = allowed
        self._on_refused = on_refused
        self._socket = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.bind(ENDPOINT)
        self._drained = Drained(loop, self._socket, self._answer)

    def close(self) -> None:
        """Answer no more. Safe to call twice."""
        if not self._socket.closed:
            self._drained.close()
            self._socket.close()

    def _answer(self) -> None:
        identity, empty, version, request, *rest = self._socket.recv_multipart(zmq.NOBLOCK)
        _domain, address, _identity, mechanism, *credentials = rest
        key = ""
        if mechanism == b"CURVE" and len(credentials) == 1:
            key = z85.encode(credentials[0]).decode()
        # 400 and no other: with 300 a client of libzmq waits for ever instead of being told.
        verdict = [b"400", b"key not listed", b""]
        if key in self._allowed:
            verdict = [b"200", b"OK", key.encode()]
        else:
            self._on_refused(address.decode(errors="replace"), key)
        self._socket.send_multipart([identity, empty, version, request, *verdict, b""], zmq.NOBLOCK)
        self._drained.look_again()
