"""The Jupyter kernel `labkit`: python -m labkit.machine.kernel -f CONNECTION_FILE

A socket stays in the network namespace where it was made. So the launcher makes the kernel's five sockets on the
computer, then takes a lab machine, and ipykernel inside answers on them: Jupyter reaches it as always, and
every thread and child of the kernel lives in the private network.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import traceback
from contextlib import suppress

from labkit.errors import LabkitError, Unavailable
from labkit.machine import kinds, launch, private
from labkit.machine.standby import Standby
from labkit.machine.uml import front, host, needs

__all__ = ["BEFORE", "CHANNELS", "listen", "log", "log_path", "main", "serve"]

BEFORE = "LABKIT_KERNEL_BEFORE"  # what befell the kernel before this one
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


def main(argv: list[str] | None = None) -> int:
    """Run the kernel of `argv` in a lab machine; where there can be none, a kernel that says why."""
    argv = sys.argv[1:] if argv is None else argv
    os.environ.pop("PYTHONSAFEPATH", None)  # the kernelspec's, for this start only: not for what the learner starts
    file = _connection_file(argv)
    sockets = listen(file)
    parent = os.environ.get("JPY_PARENT_PID", "")
    server = int(parent) if parent.isdigit() else None
    _recall(file)
    try:
        choice = kinds.choose()
        os.environ[kinds.WHY] = choice.why
        if choice.kind == "namespaces":
            return serve(argv, sockets, server)
        return _serve_from_guest(argv, sockets, server)
    except LabkitError as error:
        log("the lab machine could not start", error)
        return Standby(lambda reason: _refuse(argv, sockets, reason)).answer(str(error), server)


def _serve_from_guest(argv: list[str], sockets: dict[str, socket.socket], server: int | None) -> int:
    """Be the kernel of `argv`, which runs in a guest and listens there on the same ports. Raises Unavailable."""
    if not sockets:
        raise Unavailable("failed to start the kernel in User-Mode Linux: it needs TCP, not files, to be reached")
    file = _connection_file(argv)
    return host.start(
        front.request(argv, kernel=file),
        writable=needs.writable(os.getcwd(), os.environ.get("LABKIT_COURSE")),
        files={file: _text(file)},
        sockets=sockets,
        server=server,
        report=lambda sentence: _in_trouble(file, sentence),
    )


def serve(argv: list[str], sockets: dict[str, socket.socket], server: int | None = None) -> int:
    """Be the kernel of `argv` on `sockets`, in a lab machine of kind `namespaces`; end with `server` (a PID)."""
    private.keep_readable(_connection_file(argv))
    standby = Standby(lambda reason: _refuse(argv, sockets, reason))
    try:
        return launch.start(lambda: _kernel(argv, sockets), server=server, ready=standby.dismiss)
    except Unavailable as error:
        log("the lab machine could not start", error)
        return standby.answer(str(error), server)


def _kernel(argv: list[str], sockets: dict[str, socket.socket]) -> int:
    os.environ["TMPDIR"] = private.TEMPORARY
    from labkit.machine.answering import answer

    return answer(argv, sockets)


def _refuse(argv: list[str], sockets: dict[str, socket.socket], reason: str) -> int:
    from labkit.machine.answering import refuse

    return refuse(argv, sockets, reason)


def _connection_file(argv: list[str]) -> str:
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        if word == "-f":
            return os.path.abspath(following)
        if word.startswith(("-f=", "--f=", "--IPKernelApp.connection_file=")):
            return os.path.abspath(word.split("=", 1)[1])
    raise SystemExit("usage: python -m labkit.machine.kernel -f CONNECTION_FILE (Jupyter starts it)")


def listen(file: str, ip: str | None = None) -> dict[str, socket.socket]:
    """Bind and listen on the connection file's TCP ports, at `ip` if that is given. Returns channel -> socket.

    Sockets of other transports are files: they need no help."""
    connection = json.loads(_text(file))
    if connection.get("transport", "tcp") != "tcp":
        return {}
    ip = ip or connection.get("ip") or "127.0.0.1"
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    sockets = {}
    for channel in CHANNELS:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("" if ip == "*" else ip, connection.get(f"{channel}_port") or 0))
        sock.listen(100)
        sockets[channel] = sock
    return sockets


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def log_path() -> str:
    """Return where launcher errors are written: Jupyter shows none of what a kernel says before it answers."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "labkit", "kernel.log")


def _in_trouble(file: str, sentence: str) -> None:
    """Log what befell the kernel's guest, and keep it for the kernel after this one, on the same connection file: few
    see a kernel's stderr, and when Jupyter has started the next one nothing else tells why."""
    log("the kernel's lab machine is in trouble", Unavailable(sentence))
    with suppress(OSError), open(_kept(file), "w", encoding="utf-8") as kept:
        kept.write(sentence)


def _recall(file: str) -> None:
    """What befell the kernel before this one is in the environment, for the first cell, and nowhere else."""
    os.environ.pop(BEFORE, None)
    with suppress(OSError):
        os.environ[BEFORE] = _text(_kept(file))
        os.unlink(_kept(file))


def _kept(file: str) -> str:
    return os.path.join(os.path.dirname(log_path()), f"before-{os.path.basename(file)}")


def log(what: str, error: BaseException) -> None:
    """Add `error` to the log, and print it for who started the kernel by hand. A log that cannot be is no error."""
    text = "".join(traceback.format_exception(error))
    print(f"labkit: {what}\n{text}", file=sys.stderr)
    try:
        os.makedirs(os.path.dirname(log_path()), exist_ok=True)
        size = os.path.getsize(log_path()) if os.path.exists(log_path()) else 0
        with open(log_path(), "w" if size > 1_000_000 else "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} pid {os.getpid()}: {what}\n{text}\n")
    except OSError:
        pass


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception as error:
        log("the kernel could not start", error)
        raise
