"""What is possible here? Found by doing it, in a child, inside a fresh lab machine; never by asking who you are."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from labkit.errors import LabkitError
from labkit.machine import kinds, launch, programs, suits
from labkit.machine.features import FEATURES, Feature
from labkit.machine.uml import landlock, needs
from labkit.net import here

__all__ = ["Answer", "Report", "probe", "try_here"]


_LABKIT = os.path.join(sys.prefix, "bin", "labkit")  # sudo has a PATH of its own, without the project's .venv


@dataclass(frozen=True)
class Answer:
    """Yes or no, one sentence, one remedy ("" where there is nothing to mend)."""

    name: str
    works: bool
    sentence: str
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """Which kinds of lab machine this computer can run, and what the kernel can do in each that it can.

    `chosen`: one sentence, which kind a notebook gets here and why."""

    kinds: tuple[Answer, ...]
    features: dict[str, tuple[Answer, ...]]
    chosen: str


def probe() -> Report:
    """Try everything; takes some seconds, most of them the boot of User-Mode Linux.

    Changes nothing of the computer, and makes its kernel load no module. In a lab machine: what that one can do."""
    kind = here.kind()
    if kind is not None:
        return Report((), {kind: tuple(_all_here())}, kinds.sentence(kind))
    trials = {"namespaces": [], "uml": ["-m", "labkit.cli", "run", "--machine", "uml", "--", sys.executable, "-P"]}
    running = {
        kind: subprocess.Popen(
            [sys.executable, "-P", *words, "-m", "labkit.machine.probe"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "LABKIT_MACHINE": "auto"},
        )
        for kind, words in trials.items()
    }
    answers, features = [], {}
    for kind, process in running.items():
        output, errors = process.communicate()
        found = _parsed(output, errors)
        if "error" in found:
            answers.append(Answer(kind, False, found["error"], found["hint"]))
        else:
            answers.append(Answer(kind, True, _praise(kind)))
            features[kind] = tuple(Answer(**answer) for answer in found["features"])
    return Report(tuple(answers), features, _chosen())


def _parsed(output: str, errors: str) -> dict[str, Any]:
    try:
        return dict(json.loads(output))
    except ValueError:
        sentence, _, hint = errors.strip().removeprefix("labkit: ").partition("\n")
        return {"error": sentence[-300:] or "failed to start a lab machine", "hint": hint or "please report this"}


def _praise(kind: str) -> str:
    if kind == "namespaces":
        how = "as root" if os.geteuid() == 0 else "as an ordinary user, without privileges"
        return f"lab machines of the kernel's own namespaces start here, {how}"
    held = landlock.version()
    walls = (
        f"Landlock (version {held}) keeps its root from writing anywhere but your folder"
        if held
        else "without Landlock in this computer's kernel, its root can write whatever you can write"
    )
    return f"User-Mode Linux starts here, with {needs.memory()} MB in {needs.memory_folder(needs.memory())}; {walls}"


def _chosen() -> str:
    try:
        choice = kinds.choose()
    except LabkitError as error:
        return f"a notebook runs nothing here: {error.message}"
    return f"a notebook gets kind {choice.kind}: {choice.why}"


def try_here(names: Sequence[str]) -> list[Answer]:
    """Try features in this very lab machine, each in a network namespace of its own. Raises KeyError."""
    features = {feature.name: feature for feature in FEATURES}
    code = _kernel_code()
    return [_try(features[name], code) for name in names]


def _try_all() -> int:
    """In a fresh lab machine: print the answers as JSON."""
    print(json.dumps({"features": [answer.__dict__ for answer in _all_here()]}))
    return 0


def _all_here() -> list[Answer]:
    os.environ["PATH"] = f"{programs.REAL}:{os.environ['PATH']}"
    code = _kernel_code()
    return [_try(feature, code) for feature in FEATURES]


def _try(feature: Feature, code: set[str] | None) -> Answer:
    lacking = code is not None and not code.issuperset(feature.code)
    own = here.on_user_mode_linux()  # a kernel that is nobody else's
    if lacking and os.path.exists("/proc/modules") and not own:  # this kernel could load a module: no trial
        return _missing(feature)
    if shutil.which(feature.program) is None:
        if lacking and not own:
            return _missing(feature)
        remedy = f"sudo apt install {feature.package}"
        return Answer(feature.name, False, f"{feature.purpose}: the program {feature.program} is not installed", remedy)
    script = feature.trial.format(python=sys.executable) if "{python}" in feature.trial else feature.trial
    try:
        result = subprocess.run(
            ["unshare", "--net", "sh", "-c", f"ip link set lo up && {script}"],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Answer(feature.name, False, f"{feature.purpose}: the trial did not end", "please report this")
    if result.returncode == 0:
        return Answer(feature.name, True, feature.purpose)
    if lacking:
        return _missing(feature)
    why = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
    remedy = "nothing known" if _is_real_root() else f"the kernel labkit-uml, or root: sudo {_LABKIT} doctor"
    return Answer(feature.name, False, f"{feature.purpose}: the kernel refused it ({why})", remedy)


def _missing(feature: Feature) -> Answer:
    """The kernel has no such code now: either a module holds it, or this kernel was built without it."""
    modules = feature.module.split()
    if here.on_user_mode_linux():
        sentence = f"{feature.purpose}: the kernel of User-Mode Linux has none"
        return Answer(feature.name, False, sentence, "the kernel labkit (kind namespaces), where this computer has it")
    if all(_module_exists(module) for module in modules):
        sentence = f"{feature.purpose}: its module is not loaded, and labkit loads none without being asked"
        return Answer(feature.name, False, sentence, f"sudo modprobe {'-a ' * (len(modules) > 1)}{feature.module}")
    return Answer(
        feature.name,
        False,
        f"{feature.purpose}: this computer's kernel was built without it",
        "a distribution's own kernel, such as Debian's, has it"
        + ("" if feature.name in suits.UML_LACKS else "; so has the kernel labkit-uml"),
    )


def _is_real_root() -> bool:
    """Return whether root here is root of the computer: of a user namespace that maps every user (user_namespaces(7)).

    An ordinary user's lab machine maps one."""
    with open("/proc/self/uid_map", encoding="ascii") as users:
        return users.read().split() == ["0", "0", "4294967295"]


def _module_exists(name: str) -> bool:
    with suppress(OSError), open(f"/lib/modules/{platform.release()}/modules.dep", encoding="utf-8") as file:
        return re.search(rf"/{re.escape(name)}\.ko[.:]", file.read().replace("-", "_")) is not None
    return False


def _kernel_code() -> set[str] | None:
    """Return which of the wanted functions the running kernel has; None where it does not say."""
    wanted = {name for feature in FEATURES for name in feature.code}
    found, lines = set(), 0
    with suppress(OSError), open("/proc/kallsyms", encoding="ascii", errors="replace") as symbols:
        for line in symbols:
            lines += 1
            name = line.split()[2].split(".")[0]
            if name in wanted:
                found.add(name)
    return found if lines > 1000 else None


if __name__ == "__main__":
    try:
        sys.exit(launch.start(_try_all))
    except LabkitError as error:
        print(json.dumps({"error": error.message, "hint": error.hint}))
