"""What must this computer have before the course can run?

`python3 -m setup lessons` (or `tests`) makes it so, with nothing but the standard library:

    packages     the system's programs, by apt, with service starts denied
    policy       how starts are denied, so that nothing stays denied after a crash
    environment  .venv from the lock file, labkit in it, the kernel in it
    docker       a Docker daemon for `labkit dockerd`, unpacked and not installed
    witness      did set-up change the computer's network?
    uninstall    the way back

It starts no service and changes no network setting; `make test` proves it with `witness`.
"""

from __future__ import annotations

import os
import sys

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(PROJECT, ".venv")


class SetupError(Exception):
    """Set-up cannot go on; the message is the one sentence that the user sees."""


def say(text: str) -> None:
    """Tell the user, at once, what happens or what is wrong."""
    print(f"labkit: {text}", file=sys.stderr, flush=True)
