"""The core in a simulated world: virtual time, simulated processes, faults drawn from a seed.

    agenda      virtual time
    faults      what goes wrong in one history, and in which tree
    world       a pretend operating system
    operators   who acts on the node from outside
    checkers    what must hold in every history, by `books`: `watched`, `requests`, `accounts`
    host        one daemon after the other on one host, some of them killed with kill -9
    rebirth     how the next one begins; `births` are the notes of starts that it finds
    trace       one line for each step
    verdict     how a history ended, and the command line
    run         one seed, one history: ``python -m supervisord_ng.sim.run --seed 7 -v``
    fleet       several nodes: each a `station`, a host with a `disk`, judged by `linkbooks`; `network` links
    replay      a flight record of a real daemon, lived again
    whatif      what a user's own tree would do: ``sng simulate``
    otp         one scripted scenario, its trace in the words of the real Erlang

Nothing here starts a process, opens a socket or reads a clock.
"""
