"""Erlang/OTP supervision for operating-system processes.

The map of the house, in the order in which a value travels:

    config    TOML text to frozen specifications; the only place that knows TOML
    model     what things are: specifications, exit reasons, reports, status rows, messages
    core      what happens next: ``step(state, event, now) -> (state, effects)``; pure
    runtime   carries effects out on the operating system, turns what happens into events
    reports   crash reports: built, stored, shown
    control   the Unix socket between the daemon and its operators
    wire      the bytes that workers and nodes exchange
    sim       the same core in a simulated world
    daemon    joins all of these; the only file that knows every part
    cli       ``sng``, outside of the daemon
    worker    the SDK, inside of the workers

Start reading at `model.spec`, then `core.events`, `core.effects`, `core.machine`.
"""

__version__ = "0.1.0"
