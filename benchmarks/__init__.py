"""Measurements: each prints a ratio against a floor or a peer of the same run. See benchmarks/README.md."""
