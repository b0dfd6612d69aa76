"""The core in a simulated world: virtual time, simulated processes, faults drawn from a seed.

`run` and its neighbours play random histories and check what must hold in each of them; `otp` plays
one scripted scenario and prints its trace in the words of the real Erlang. Nothing here starts a
process, opens a socket or reads a clock.
"""
