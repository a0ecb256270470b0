"""A shim: what is a plugin told, and what does it answer, when somebody else calls it?

An executable with the plugin's name lies in a folder that comes first in CNI_PATH. It writes down the variables and
standard input, runs the real plugin, writes down what that said, and says the same, with the same exit status.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress

from labkit.errors import Refused, cause
from labkit.kube.cni.call import PATH, Call, find
from labkit.net.here import RUN

__all__ = ["FOLDER", "record", "records"]

FOLDER = f"{RUN}/cni/shim"
_SCRIPT = """#!/bin/sh
# A shim before {real}: it records one call in a folder of its own, named by the time.
call={records}/$(date +%s%N)-$$
mkdir -p "$call"
env | grep ^CNI_ >"$call/environment"
cat >"$call/stdin"
{real} <"$call/stdin" >"$call/stdout" 2>"$call/stderr"
status=$?
cat "$call/stderr" >&2
cat "$call/stdout"
echo {real} $status >"$call/ended"
exit $status
"""


def record(*kinds: str, path: Sequence[str] = PATH, folder: str = FOLDER) -> str:
    """The plugins named are recorded from now on, wherever `folder` comes first in CNI_PATH; returns that folder.

    `path`: where the real ones are. Raises NotFound, Unavailable, Refused."""
    for kind in kinds:
        real = find(kind, [one for one in path if one != folder])
        script = _SCRIPT.format(real=shlex.quote(real), records=shlex.quote(f"{folder}/calls"))
        shim = os.path.join(folder, kind)
        try:
            os.makedirs(f"{folder}/calls", exist_ok=True)
            with open(shim, "w", encoding="utf-8") as file:
                file.write(script)
            os.chmod(shim, 0o755)  # noqa: S103 - whoever calls plugins may call it
        except OSError as error:
            raise Refused(f"failed to write '{shim}': {cause(error.errno or 0)}", errno=error.errno or 0) from error
    return folder


def records(folder: str = FOLDER) -> list[Call]:
    """Return the calls recorded so far, the first first; a plugin's delegate comes after it, and ends before it."""
    found = []
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(f"{folder}/calls")):
            with suppress(FileNotFoundError):  # not ended yet
                found.append(_read(f"{folder}/calls/{name}"))
    return found


def _read(folder: str) -> Call:
    texts = {}
    for name in ("environment", "stdin", "stdout", "stderr", "ended"):
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            texts[name] = file.read()
    real, status = texts["ended"].rsplit(maxsplit=1)
    environment = dict(line.split("=", 1) for line in texts["environment"].splitlines())
    return Call(real, environment, texts["stdin"], "host", int(status), texts["stdout"], texts["stderr"])
