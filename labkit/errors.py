"""What can go wrong, and whose turn is it then?

    LabkitError
    ├── WrongUse                 what was asked for cannot be: change the request     (also ValueError)
    │   ├── NotInLabMachine      the verb was called on the computer itself
    │   ├── Duplicate            the name or address is taken
    │   └── NotFound             it names something that does not exist
    ├── Unavailable              this computer cannot do it: there is a remedy, or another kind of machine
    │   ├── CommandNotInstalled  a program is missing
    │   └── NamespacesForbidden  the kernel gives no namespaces to this user
    └── Refused                  the kernel said no; `errno` is its answer
        └── NamespaceGone        the namespace died while it was in use

Every message is `failed to <verb> '<name>' in namespace '<namespace>': <cause>`, then, on a second line, where to
look or what exists.
"""

from __future__ import annotations

import os

__all__ = [
    "CommandNotInstalled",
    "Duplicate",
    "LabkitError",
    "NamespaceGone",
    "NamespacesForbidden",
    "NotFound",
    "NotInLabMachine",
    "Refused",
    "Unavailable",
    "WrongUse",
]


class LabkitError(Exception):
    """The root of the tree. `hint` says where to look; it is the message's second line.

    `errno` is the kernel's answer, as in `errno.ENODEV`, or 0 where the kernel was not asked."""

    def __init__(self, message: str, hint: str = "", errno: int = 0) -> None:
        super().__init__(f"{message}\n{hint}" if hint else message)
        self.message = message
        self.hint = hint
        self.errno = errno

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the sentence, without the way through labkit's own code that led to it."""
        return [f"{type(self).__name__}: {self}"]


class WrongUse(LabkitError, ValueError):
    """What was asked for cannot be."""


class NotInLabMachine(WrongUse):
    """The verb was called on the computer itself, where labkit touches nothing."""


class Duplicate(WrongUse):
    """The name or the address is taken."""


class NotFound(WrongUse):
    """It names something that does not exist."""


class Unavailable(LabkitError):
    """This computer cannot do it."""


class CommandNotInstalled(Unavailable):
    """A program is missing."""


class NamespacesForbidden(Unavailable):
    """The kernel gives no namespaces to this user."""


class Refused(LabkitError):
    """The kernel said no."""


class NamespaceGone(Refused):
    """The namespace died while it was in use."""


def cause(errno: int) -> str:
    """Return the kernel's own words for `errno`, lower case: "no such device"."""
    return os.strerror(errno).lower()
