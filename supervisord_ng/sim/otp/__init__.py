"""Conformance: one scenario played on the core, its trace printed as the real Erlang/OTP prints it.

    scenario    the lines of a scenario file: declarations and commands
    validation  what supervisor(3) refuses in flags and child specifications
    specs       declarations to the specifications that the core takes
    terms       exit reasons to Erlang terms and back
    roster      who is who: ``a#2`` is the second successful start of a
    fakes       the simulated workers, which answer a stop as their declaration says
    trace       notes and reports of the core to lines of the trace
    driver      the commands: what each does to the core and to the fakes

``python -m supervisord_ng.sim.otp FILE.scn...`` prints the traces. The format is described in
docs/otp-conformance.md.
"""
