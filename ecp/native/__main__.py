"""``python -m ecp.native PRESET``: build the runner for host, aarch64-linux-gnu or android-arm64; prints its path."""

from __future__ import annotations

import sys

from ecp.errors import EcpError
from ecp.native.build import PRESETS, runner


def main(arguments: list[str]) -> int:
    """Exit code 0, 1 where the build fails, 2 for bad usage."""
    if len(arguments) != 1:
        print(f"usage: python -m ecp.native {{{','.join(PRESETS)}}}", file=sys.stderr)
        return 2
    try:
        print(runner(arguments[0]))
    except EcpError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
