"""The plugin's side of the protocol: what was asked, may it be, and how is the answer said?

A plugin is functions, one an operation; `serve` reads the variables and standard input for them, and writes what they
return or raise. Source: CNI specification 1.1.0, sections 2 and 5; pkg/skel of containernetworking/cni.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from labkit.errors import LabkitError
from labkit.kube.cni.versions import SINCE, SUPPORTED, as_version, at_least
from labkit.net import namespace as namespaces
from labkit.net.here import ensure_lab_machine

__all__ = ["Fault", "Request", "serve"]

_NEEDS = {  # the variables without which an operation cannot be
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": (),
    "STATUS": (),
}


class Fault(Exception):
    """The answer is an error result with this `code`; 100 and above are the plugin's own."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.result = {"code": code, "msg": message, **({"details": details} if details else {})}


@dataclass(frozen=True)
class Request:
    """What a plugin is asked. `node`: the namespace it serves; `sandbox`: the container's, both by name."""

    container: str
    ifname: str
    config: dict[str, Any]
    node: str = "host"
    sandbox: str = ""
    netns: str = ""  # the sandbox's path, as the runtime said it
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def ipam(self) -> dict[str, Any]:
        """The part of the configuration that speaks of addresses."""
        return dict(self.config.get("ipam", {}))

    @property
    def key(self) -> str:
        """The attachment, as the files of IPAM name it."""
        return f"{self.container}\r\n{self.ifname}"


Operations = Mapping[str, Callable[[Request], "dict[str, Any] | None"]]


def serve(
    operations: Operations,
    environment: Mapping[str, str],
    stdin: str,
    check: Callable[[dict[str, Any]], None] = lambda _: None,
) -> tuple[int, str]:
    """Return the exit status and what goes to standard output.

    `check`: raises Fault for a configuration that this plugin cannot use."""
    version = SUPPORTED[-1]
    try:
        command = environment.get("CNI_COMMAND", "")
        if command == "VERSION":
            return 0, json.dumps({"cniVersion": _asked_in(stdin) or version, "supportedVersions": SUPPORTED})
        version = _asked_in(stdin) or version
        config = _configuration(environment, stdin)
        if not at_least(version, SINCE.get(command, version)):
            raise Fault(1, f"CNI {version} has no {command}", f"it came with {SINCE[command]}")
        check(config)
        ensure_lab_machine(f"serve CNI {command}")
        netns = environment.get("CNI_NETNS", "")
        with _named("/proc/self/ns/net") as node, _named(netns if command in ("ADD", "CHECK") else "") as sandbox:
            container, ifname = environment.get("CNI_CONTAINERID", ""), environment.get("CNI_IFNAME", "")
            result = operations[command](Request(container, ifname, config, node, sandbox, netns, environment))
        return 0, json.dumps(as_version(result, version), indent=2) if result else ""
    except Fault as fault:
        return 1, json.dumps({"cniVersion": version, **fault.result}, indent=2)
    except LabkitError as error:
        result = {"cniVersion": version, "code": 100, "msg": error.message, "details": error.hint}
        return 1, json.dumps(result, indent=2)
    except OSError as error:
        return 1, json.dumps({"cniVersion": version, "code": 5, "msg": str(error)}, indent=2)


def _asked_in(stdin: str) -> str | None:
    with suppress(ValueError, AttributeError):
        version = json.loads(stdin).get("cniVersion")
        return version if isinstance(version, str) else None
    return None


def _configuration(environment: Mapping[str, str], stdin: str) -> dict[str, Any]:
    """Return the configuration of a request that makes sense. Raises Fault."""
    command = environment.get("CNI_COMMAND", "")
    if command not in _NEEDS:
        raise Fault(4, f"CNI_COMMAND is {command!r}")
    if missing := [name for name in _NEEDS[command] if not environment.get(name)]:
        raise Fault(4, f"missing: {', '.join(missing)}")
    try:
        config = json.loads(stdin)
    except ValueError as error:
        raise Fault(6, "the configuration is not JSON", str(error)) from error
    if not isinstance(config, dict):
        raise Fault(6, "the configuration is not a JSON object")
    if config.get("cniVersion") not in SUPPORTED:
        raise Fault(1, f"CNI {config.get('cniVersion')} is not spoken here", f"spoken: {', '.join(SUPPORTED)}")
    if not config.get("name"):
        raise Fault(7, "the configuration has no name")
    return config


@contextmanager
def _named(path: str) -> Iterator[str]:
    """The name of the namespace at `path`, "host" for the first; one without a name has one within the block."""
    if not path:
        yield ""
        return
    try:
        wanted = os.stat(path).st_ino
    except OSError as error:
        raise Fault(3, f"no namespace at {path}", str(error)) from error
    folder, name = os.path.split(os.path.realpath(path))
    for known in [name] if folder == namespaces.NETNS else ["host", *namespaces.names()]:
        with suppress(OSError):
            if os.stat(namespaces.path(known)).st_ino == wanted:
                yield known
                return
    passing = f"cni-{os.getpid()}"
    os.symlink(path, namespaces.path(passing))
    try:
        yield passing
    finally:
        os.unlink(namespaces.path(passing))
