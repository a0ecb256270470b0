"""How do words reach a terminal, a file or a pipe? At once; or one sentence says why not."""

from __future__ import annotations

import argparse
import io
import math
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from labkit.errors import NotInLabMachine, Refused, WrongUse, cause
from labkit.grading.files import write_text
from labkit.net import here

__all__ = [
    "abandon",
    "ends_in_order",
    "ensure_lab_machine",
    "not_twice_stdout",
    "put",
    "refused",
    "save",
    "seconds",
    "whole_number",
]


def ensure_lab_machine(command: str) -> None:
    """Refuse the command `command` ("trace") on the computer itself. Raises NotInLabMachine."""
    try:
        here.ensure_lab_machine(f"run 'labkit {command}'")
    except NotInLabMachine as error:
        example = "red 10.0.0.3" if command == "trace" else "red" if command == "capture" else ""
        typed = f"labkit {command} {example}".rstrip()
        hint = f"run it with: labkit run sh -c 'COMMANDS; {typed}', or beside a notebook: labkit shell -- {typed}"
        raise NotInLabMachine(error.message, hint) from None


def put(text: str) -> None:
    """Write to standard output now. What its encoding lacks is written as an escape.

    Raises BrokenPipeError when the reader has left, Refused when the disk is full."""
    if sys.stdout is None:  # it was closed before we began
        return
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        abandon(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise
        raise refused("write to standard output", error) from error


def abandon(file: IO[Any]) -> None:
    """What is still buffered for the file goes nowhere, so that Python does not fail once more when it ends."""
    with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), file.fileno())


def save(path: str, text: str) -> None:
    """Replace the file `path` as a whole; "-" is standard output. Raises Refused; the old file is then still there."""
    if path == "-":
        put(text)
        return
    try:
        write_text(path, text)
    except OSError as error:
        raise refused(f"write '{path}'", error) from error


def refused(what: str, error: OSError) -> Refused:
    """Return the error that says that the kernel refused `what` ("write 'x.svg'")."""
    return Refused(f"failed to {what}: {cause(error.errno or 0)}", errno=error.errno or 0)


@contextmanager
def ends_in_order() -> Iterator[None]:
    """Within the block, SIGTERM and SIGHUP end the program as Ctrl-C does: what it set up in the kernel is undone."""
    before = {}
    with suppress(ValueError):  # only the main thread may
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, lambda signum, _: sys.exit(128 + signum))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def seconds(text: str) -> float:
    """Return a number of seconds above 0, as a parser's type."""
    with suppress(ValueError):
        value = float(text)
        if 0 < value < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds above 0")


def whole_number(text: str) -> int:
    """Return a whole number from 1 on, as a parser's type."""
    if text.isdecimal() and text.isascii() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 on")


def not_twice_stdout(json: bool, svg: str | None) -> None:
    """Refuse to mix JSON and SVG on standard output. Raises WrongUse."""
    if json and svg == "-":
        raise WrongUse("failed to write JSON and SVG to one standard output", "give --svg a file's name")
