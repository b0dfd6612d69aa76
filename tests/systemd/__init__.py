"""The daemon as a service of a real systemd, booted for these tests."""
