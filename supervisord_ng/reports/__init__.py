"""Crash reports, once the core has decided: completed, stored, read again, shown to a person."""
