"""Process 1 of a User-Mode Linux guest: labkit.machine.uml.guest, with labkit's commands for it to run."""

from __future__ import annotations

from labkit import cli
from labkit.machine.uml import guest

__all__: list[str] = []

if __name__ == "__main__":
    guest.main(cli.main)
