"""The pure core: what happens next. No I/O, no clock, no chance of its own. Enter through `core.machine`."""
