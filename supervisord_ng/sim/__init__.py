"""The core in a simulated world: virtual time, simulated processes, faults drawn from a seed.

    agenda      virtual time
    faults      what goes wrong in one history, and in which tree
    world       a pretend operating system
    operators   who acts on the node from outside
    checkers    what must hold in every history, by `books`: `watched`, `requests`, `accounts`
    rebirth     kill -9 of the daemon, and the next one; `births` are its notes of starts
    trace       one line for each step
    run         one seed, one history: ``python -m supervisord_ng.sim.run --seed 7 -v``
    fleet       several nodes, of `station` hosts and `network` links
    replay      a flight record of a real daemon, lived again
    whatif      what a user's own tree would do: ``sng simulate``
    otp         one scripted scenario, its trace in the words of the real Erlang

Nothing here starts a process, opens a socket or reads a clock.
"""
