"""The hands of the daemon: processes, descriptors, signals, sockets.

No policy: what to do is the core's to say.
"""
