"""Network configurations: which plugins make a network, in which order, and with what settings?

Source: CNI specification 1.1.0, section 1.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.errors import NotFound, WrongUse, cause
from labkit.kube.cni.versions import SUPPORTED, _numbers

__all__ = ["CAPABILITIES", "NAME", "Network", "load", "parse"]

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")  # of networks and containers
_KEYS = ("cniVersion", "cniVersions", "name", "disableCheck", "disableGC", "plugins")
_GENERATED = ("prevResult", "runtimeConfig")  # by the runtime, as is every key that begins with cni.dev/
CAPABILITIES = (  # CONVENTIONS.md of containernetworking/cni
    "aliases", "bandwidth", "cgroupPath", "deviceID", "dns", "infinibandGUID", "io.kubernetes.cri.pod-annotations",
    "ipRanges", "ips", "mac", "portMappings",
)  # fmt: skip
_FORM = 'the least there is: {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge"}]}'


@dataclass(frozen=True)
class Network:
    """A network configuration that holds: plugins, each a dictionary with its `type`, asked in this order."""

    name: str
    version: str
    plugins: tuple[dict[str, Any], ...]
    disable_check: bool = False
    disable_gc: bool = False
    source: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def types(self) -> tuple[str, ...]:
        """The names of the plugins' executables, in order."""
        return tuple(plugin["type"] for plugin in self.plugins)

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What some plugin of the list wants to be told for each container, sorted."""
        return tuple(sorted({name for one in self.plugins for name, on in one.get("capabilities", {}).items() if on}))


def load(path: str) -> Network:
    """Return the network configuration of a file. Raises NotFound, WrongUse."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        why = cause(error.errno or 0) if isinstance(error, OSError) else "not text"
        raise NotFound(f"failed to read network configuration '{path}': {why}") from error
    return parse(text, path)


def parse(configuration: str | Mapping[str, Any], where: str = "") -> Network:
    """Return a network configuration, given as JSON or as what JSON becomes in Python.

    A single plugin's configuration (`type` beside `name`) becomes a list of one, as libcni makes it. `where`: the file
    that it came from. Raises WrongUse, which says what is wrong and in which plugin."""
    what = f"failed to read network configuration{f' {where!r}' if where else ''}"
    found = _decoded(what, configuration)
    if "type" in found and "plugins" not in found:
        top = {key: found[key] for key in _KEYS if key in found}
        found = {**top, "plugins": [{key: value for key, value in found.items() if key not in top}]}
    _known(what, found)
    plugins = found.get("plugins")
    if not isinstance(plugins, list) or not plugins:
        raise WrongUse(f"{what}: 'plugins' is not a list of at least one plugin", _FORM)
    for place, plugin in enumerate(plugins):
        _check_plugin(f"{what}: plugin {place + 1}", plugin)
    return Network(
        _name(what, found.get("name")),
        _version(what, found),
        tuple(dict(plugin) for plugin in plugins),
        _switch(what, found, "disableCheck"),
        _switch(what, found, "disableGC"),
        found,
    )


def _decoded(what: str, configuration: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(configuration, str):
        try:
            found = json.loads(configuration)
        except json.JSONDecodeError as error:
            raise WrongUse(f"{what}: not JSON: {error.msg}", f"line {error.lineno}, column {error.colno}") from error
    else:
        found = dict(configuration)
    if not isinstance(found, dict):
        raise WrongUse(f"{what}: not a JSON object", _FORM)
    return found


def _known(what: str, found: dict[str, Any]) -> None:
    for key in found:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            meant = f"did you mean '{near[0]}'?" if near else f"keys of a list: {', '.join(_KEYS)}"
            raise WrongUse(f"{what}: unknown key '{key}'", f"{meant} (a plugin's own keys stand in 'plugins')")


def _name(what: str, name: object) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        said = "it has no name" if name is None else f"{name!r} is not a network's name"
        raise WrongUse(f"{what}: {said}", "a letter or digit, then letters, digits, '_', '.' and '-'")
    return name


def _version(what: str, found: dict[str, Any]) -> str:
    """Of the versions that the configuration offers, the latest that we speak."""
    offered = found.get("cniVersions", [])
    if not isinstance(offered, list):
        raise WrongUse(f"{what}: 'cniVersions' is not a list", 'write it as ["1.0.0", "1.1.0"]')
    offered = [*offered, *([found["cniVersion"]] if "cniVersion" in found else [])]
    spoken = [version for version in offered if version in SUPPORTED]
    if not spoken:
        said = ", ".join(map(repr, offered)) or "none stated"
        raise WrongUse(f"{what}: no CNI version that labkit speaks: {said}", f"it speaks {', '.join(SUPPORTED)}")
    return str(max(spoken, key=_numbers))


def _switch(what: str, found: dict[str, Any], key: str) -> bool:
    value = found.get(key, False)
    if value in ("true", "false"):  # as 0.4.0 had it
        return bool(value == "true")
    if not isinstance(value, bool):
        raise WrongUse(f"{what}: '{key}' is {value!r}", "it is true or false")
    return value


def _check_plugin(what: str, plugin: object) -> None:
    if not isinstance(plugin, dict):
        raise WrongUse(f"{what} is not a JSON object", 'write it as {"type": "bridge", ...}')
    _check_type(what, plugin.get("type"), "type")
    for key in plugin:
        if key in _GENERATED or key.startswith("cni.dev/"):
            raise WrongUse(f"{what}: '{key}' is not for a configuration", "the runtime writes it for each call")
    _check_capabilities(what, plugin.get("capabilities", {}))
    ipam = plugin.get("ipam", {})
    if not isinstance(ipam, dict):
        raise WrongUse(f"{what}: 'ipam' is not a JSON object", 'write it as {"type": "host-local", ...}')
    if "type" in ipam:
        _check_type(what, ipam["type"], "ipam.type")


def _check_type(what: str, kind: object, key: str) -> None:
    if not isinstance(kind, str) or kind in ("", ".", "..") or "/" in kind or "\\" in kind or "\0" in kind:
        said = f"it has no {key}" if kind is None else f"{key} {kind!r} is not an executable's name"
        raise WrongUse(f"{what}: {said}", "the name of a file in CNI_PATH, such as bridge, without a folder")


def _check_capabilities(what: str, capabilities: object) -> None:
    if not isinstance(capabilities, dict) or not all(isinstance(value, bool) for value in capabilities.values()):
        raise WrongUse(f"{what}: 'capabilities' is not names with true or false", 'such as {"portMappings": true}')
    for name in capabilities:
        if name not in CAPABILITIES:
            near = difflib.get_close_matches(name, CAPABILITIES, 1)
            meant = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(CAPABILITIES)}"
            raise WrongUse(f"{what}: unknown capability '{name}'", meant)
