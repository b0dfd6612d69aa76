"""The wire between the daemon and its operators: a Unix socket, one JSON document a line.

`server` and `access` are the daemon's end (asyncio), `client` is the operator's (blocking, standard
library only). The protocol is described in docs/control-protocol.md. Knows nothing of what a verb
does.
"""
