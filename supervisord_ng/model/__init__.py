"""The nouns: what things are. Frozen values, no clock, no I/O, nothing that happens."""
