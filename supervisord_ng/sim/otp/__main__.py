"""``python -m supervisord_ng.sim.otp FILE.scn...``: print the traces of scenarios."""

from __future__ import annotations

import sys

from supervisord_ng.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from supervisord_ng.sim.otp.driver import Driver


def main(arguments: list[str]) -> int:
    """Play the scenarios in the files named and return the exit status."""
    if not arguments or any(argument.startswith("-") for argument in arguments):
        print("usage: python -m supervisord_ng.sim.otp FILE.scn...", file=sys.stderr)
        return EXIT_USAGE
    status = EXIT_OK
    for path in arguments:
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            sys.stdout.write(Driver(text).play())
        except (OSError, ValueError) as error:
            print(f"cannot play {path}: {error}", file=sys.stderr)
            status = EXIT_FAILED
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
