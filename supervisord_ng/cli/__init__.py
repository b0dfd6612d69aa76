"""``sng``, the control CLI: one file for each verb, `main` joins them.

Meets the daemon only on the control protocol. It is started all day long, so a verb imports what it
needs when it runs, and the everyday ones need nothing but click, json and a socket.
"""
