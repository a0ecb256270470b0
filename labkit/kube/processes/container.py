"""Containers: how does a fork of the spawner become one?"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
from contextlib import suppress

from labkit.kube.processes import servers
from labkit.kube.processes.pauses import rename
from labkit.net import libc

__all__ = ["become"]

_ENVIRONMENT = ("HOME", "LANG", "PATH", "TMPDIR")  # what a container gets of the lab machine's


def become(
    answer: socket.socket,
    output: int,
    *,
    sandbox: int,
    pod: str,
    container: str,
    image: str,
    command: list[str],
    arguments: list[str],
    environment: dict[str, str],
) -> int:
    """Be the container in the namespaces of process `sandbox`, and return its exit status.

    The end of `answer` says that it has begun: a server listens, or the command is running in place of this program."""
    answer = _alone(answer, output)
    try:
        _enter(sandbox)
    except OSError as error:
        _say(answer, f"its sandbox, process {sandbox}", error)
        return 127
    if command:
        return _execute(answer, command + arguments, environment)
    rename(image)
    return servers.serve(image, arguments, pod, container, answer.close)


def _alone(answer: socket.socket, output: int) -> socket.socket:
    """Keep nothing of the spawner's but its memory. Return the socket of the answer."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    nothing = os.open("/dev/null", os.O_RDONLY)
    for descriptor, place in ((nothing, 0), (output, 1), (output, 2), (answer.detach(), 3)):
        os.dup2(descriptor, place)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    os.set_inheritable(3, False)
    return socket.socket(fileno=3)


def _enter(sandbox: int) -> None:
    for name, kind in (("net", libc.CLONE_NEWNET), ("uts", libc.CLONE_NEWUTS)):
        descriptor = os.open(f"/proc/{sandbox}/ns/{name}", os.O_RDONLY)
        libc.setns(descriptor, kind)
        os.close(descriptor)


def _execute(answer: socket.socket, words: list[str], given: dict[str, str]) -> int:
    mine = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment = {**mine, "HOSTNAME": socket.gethostname(), **given}
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):  # an ignored signal stays so in another program
        signal.signal(number, signal.SIG_DFL)
    try:
        _find(words[0], environment.get("PATH", os.defpath))
        os.execvpe(words[0], words, environment)  # noqa: S606 - a container
    except OSError as error:
        _say(answer, f"its command '{words[0]}'", error)
    return 127


def _find(program: str, path: str) -> None:
    """Raises FileNotFoundError where it is nowhere on `path`: execvpe would tell of a folder that is closed to us."""
    if "/" not in program and not any(os.access(f"{folder}/{program}", os.X_OK) for folder in path.split(":")):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)


def _say(answer: socket.socket, what: str, error: OSError) -> None:
    with suppress(OSError):
        answer.send(json.dumps({"failed": what, "errno": error.errno}).encode())
