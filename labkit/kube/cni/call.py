"""One call of one plugin: what is it told, what did it answer, and what if it does neither well?

Everything that a plugin knows comes by environment variables and standard input; everything it says goes to standard
output, as JSON. Source: CNI specification 1.1.0, sections 2 and 5; pkg/invoke of containernetworking/cni.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from labkit.errors import NotFound, Refused, Unavailable, cause
from labkit.net import namespace as namespaces
from labkit.net.here import ensure_lab_machine

__all__ = ["CODES", "PATH", "Call", "PluginRefused", "execute", "find", "result_of"]

PATH = ("/usr/lib/cni", "/opt/cni/bin")  # where Debian, and everybody else, put plugins
_LONGEST = 200  # characters of a plugin's nonsense that a message shows
CODES = {  # CNI specification 1.1.0, section 5, Error
    1: "incompatible CNI version",
    2: "unsupported field in network configuration",
    3: "container unknown or does not exist",
    4: "invalid necessary environment variables",
    5: "I/O failure",
    6: "failed to decode content",
    7: "invalid network configuration",
    11: "try again later",
    50: "the plugin cannot serve ADD",
    51: "the plugin cannot serve ADD, and containers may have limited connectivity",
}


class PluginRefused(Refused):
    """A plugin did not do what it was asked. `code` is the one it gave, 0 if it gave none; `call` has all it said."""

    def __init__(self, message: str, hint: str, code: int, call: Call) -> None:
        super().__init__(message, hint)
        self.code = code
        self.call = call


@dataclass(frozen=True, repr=False)
class Call:
    """What a plugin was told and what it answered. Its repr is the shell command that asks the same again."""

    path: str
    environment: dict[str, str]  # the CNI_ variables
    stdin: str
    node: str = "host"
    status: int | None = None  # None: it did not end in time; negative: the signal that ended it
    stdout: str = ""
    stderr: str = ""

    @property
    def plugin(self) -> str:
        """The plugin's type: its file's name."""
        return os.path.basename(self.path)

    @property
    def operation(self) -> str:
        """ADD, DEL, CHECK, GC, STATUS, VERSION."""
        return self.environment.get("CNI_COMMAND", "")

    @property
    def command(self) -> str:
        """The shell command: "CNI_COMMAND=ADD ... /usr/lib/cni/bridge <<'END'", its standard input, "END"."""
        within = "" if self.node == "host" else f"ip netns exec {self.node} env "
        words = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.environment.items() if value)
        return f"{within}{words} {shlex.quote(self.path)} <<'END'\n{self.stdin}\nEND"

    @property
    def answer(self) -> Any:
        """What it said, as JSON makes it, or None where that is not JSON."""
        with suppress(ValueError):
            return json.loads(self.stdout)
        return None

    def __repr__(self) -> str:
        return self.command


def find(kind: str, path: Sequence[str]) -> str:
    """Return the executable of the plugin `kind`, looked for in the folders of `path`. Raises NotFound, Unavailable."""
    for folder in path:
        candidate = os.path.join(folder, kind)
        if os.path.isfile(candidate):
            if not os.access(candidate, os.X_OK):
                raise Unavailable(f"failed to call plugin '{kind}': {candidate} is not executable", "chmod +x it")
            return candidate
    raise NotFound(
        f"failed to call plugin '{kind}': no such file in {':'.join(path) or 'an empty CNI_PATH'}", _there(path)
    )


def _there(path: Sequence[str]) -> str:
    names: set[str] = set()
    for folder in path:
        with suppress(OSError):
            names |= {name for name in os.listdir(folder) if os.access(os.path.join(folder, name), os.X_OK)}
    return f"plugins there: {', '.join(sorted(names)) or 'none'} (Debian's: package containernetworking-plugins)"


def execute(path: str, environment: Mapping[str, str], stdin: str, *, node: str = "host", timeout: float = 30) -> Call:
    """Run a plugin in the namespace of its node and return what became of it, whatever that is.

    `environment`: the CNI_ variables; the rest is this process's own. `timeout`: seconds; then the plugin and what it
    started are ended. Raises NotFound (no such node), Unavailable (it cannot be started)."""
    ensure_lab_machine(f"call plugin '{os.path.basename(path)}'")
    call = Call(path, dict(environment), stdin, node)
    others = {name: value for name, value in os.environ.items() if not name.startswith("CNI_")}
    others["LABKIT_PYTHON"] = sys.executable  # for our own plugin, which is otherwise called as any other

    def run() -> Call:
        with (
            tempfile.TemporaryFile("w+") as given,
            tempfile.TemporaryFile("w+", errors="replace") as said,
            tempfile.TemporaryFile("w+", errors="replace") as complained,
        ):  # files: a child left over holds no pipe
            given.write(stdin)
            given.seek(0)
            process = subprocess.Popen([path], stdin=given, stdout=said, stderr=complained,
                                       env={**others, **environment}, start_new_session=True)  # fmt: skip
            try:
                status: int | None = process.wait(timeout)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            said.seek(0)
            complained.seek(0)
            return Call(path, call.environment, stdin, node, status, said.read(), complained.read())

    try:
        return namespaces.inside(node, run)
    except OSError as error:
        raise Unavailable(
            f"failed to call plugin '{call.plugin}' in namespace '{node}': {cause(error.errno or 0)}",
            f"{path} is not a program that this kernel runs: look at its first line",
            errno=error.errno or 0,
        ) from error


def result_of(call: Call) -> Any:
    """Return what the plugin answered: a dictionary, or None where it said nothing. Raises PluginRefused."""
    if call.status != 0:
        raise _refusal(call)
    if not call.stdout.strip():
        return None
    if not isinstance(call.answer, dict):
        raise _complaint(call, f"it printed what is not a JSON object: {_short(call.stdout)}")
    return call.answer


def _refusal(call: Call) -> PluginRefused:
    answer = call.answer
    if call.status is None:
        return _complaint(call, "it did not end in time, and was ended")
    if call.status < 0:
        return _complaint(call, f"it was ended by signal {-call.status} ({signal.strsignal(-call.status)})")
    if not isinstance(answer, dict) or not isinstance(answer.get("code"), int):
        said = f"it printed {_short(call.stdout)}" if call.stdout.strip() else "it printed no error result"
        return _complaint(call, f"exit status {call.status}, and {said}")
    code = answer["code"]
    told = CODES.get(code, "the plugin's own code" if code >= 100 else "no code of the specification")
    said = ": ".join(str(answer[key]).strip() for key in ("msg", "details") if answer.get(key))
    return PluginRefused(f"{_failed(call)}: {said}", f"code {code}: {told}", code, call)


def _complaint(call: Call, said: str) -> PluginRefused:
    hint = f"on standard error: {_short(call.stderr)}" if call.stderr.strip() else "it said nothing on standard error"
    return PluginRefused(f"{_failed(call)}: {said}", hint, 0, call)


def _failed(call: Call) -> str:
    container = call.environment.get("CNI_CONTAINERID")
    whom = f" '{container}'" if container else ""
    return f"failed to {call.operation}{whom} in namespace '{call.node}': plugin '{call.plugin}'"


def _short(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")
