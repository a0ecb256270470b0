"""Which kernel suits a notebook, and does any? What the notebook says that it needs, against what is possible here.

A notebook's metadata lists what it needs, {"labkit": {"needs": ["ip_vs"]}}, for labkit's own commands. Its first cell
says the same, labkit.needs("ip_vs"), for whoever opens it elsewhere. A later cell whose first line is such a call needs
it for itself alone: no other cell depends on it. What the computer's own kernel can do is tried, in a lab machine of
kind `namespaces`; what User-Mode Linux lacks is known, and tests compare it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from labkit.errors import LabkitError, NamespacesForbidden, Unavailable
from labkit.machine.features import FEATURES
from labkit.machine.uml import needs as uml

__all__ = [
    "UML_LACKS",
    "kernel_for",
    "lacking_here",
    "lacking_on",
    "needs_of",
    "needs_of_cell",
    "neither",
    "nothing_runs",
    "uml_missing",
]

UML_LACKS = frozenset({"wireguard", "nftables", "nft-numgen", "iptables-nft"})
_KNOWN = tuple(feature.name for feature in FEATURES)
_FIRST_LINE = re.compile(r'labkit\.needs\(("[\w-]+"(?:, "[\w-]+")*)\)[ \t]*(?:\n|\Z)')


def needs_of(notebook: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a notebook (a dict as nbformat 4 describes it) says in its metadata that it needs."""
    metadata = notebook.get("metadata")
    own = metadata.get("labkit") if isinstance(metadata, Mapping) else None
    listed = own.get("needs") if isinstance(own, Mapping) else None
    return tuple(name for name in listed if isinstance(name, str)) if isinstance(listed, list) else ()


def needs_of_cell(source: str) -> tuple[str, ...]:
    """Return what the first line of a cell says that the cell needs: labkit.needs("nftables")."""
    call = _FIRST_LINE.match(source)
    return tuple(re.findall(r'"([^"]+)"', call[1])) if call else ()


def kernel_for(needs: Sequence[str]) -> str:
    """Return the kernel for a notebook with these needs, "labkit" or "labkit-uml".

    It is labkit-uml where the computer's own kernel lacks one of them, and User-Mode Linux has all and can start here.
    Asks the kernel only if there are needs, once for each list of them (about 0.2 s)."""
    wanted = tuple(sorted({name for name in needs if name in _KNOWN}))
    if not wanted or UML_LACKS & set(wanted) or not lacking_here(wanted) or uml_missing() is not None:
        return "labkit"
    return "labkit-uml"


def lacking_here(needs: Collection[str]) -> tuple[str, ...]:
    """Return those of the features that kind `namespaces` lacks here: all of them where no such machine starts."""
    answer = _tried(tuple(needs))
    return tuple(answer["lacking"]) if "lacking" in answer else tuple(needs)


def lacking_on(kernel: str, needs: Collection[str]) -> tuple[str, ...]:
    """Return those of the features that the kernel "labkit" or "labkit-uml" lacks here."""
    return tuple(name for name in needs if name in UML_LACKS) if kernel == "labkit-uml" else lacking_here(needs)


def uml_missing() -> LabkitError | None:
    """Return why User-Mode Linux cannot start here, as far as can be told without booting it; None where it may."""
    try:
        uml.program()
        uml.memory_folder(uml.memory())
    except LabkitError as missing:
        return missing
    return None if _may_trace() else Unavailable(*uml.explain("ptrace"))


def nothing_runs() -> Unavailable | None:
    """Return why no kind of lab machine starts here; None where one does, as far as can be told without booting
    User-Mode Linux (about 0.3 s; `labkit doctor` boots it)."""
    refused = _tried(())
    if "lacking" in refused:
        return None
    missing = uml_missing()
    if missing is None:
        return None
    return neither(refused["error"], refused["hint"], missing)


def neither(forbidden: str, hint: str, missing: LabkitError) -> NamespacesForbidden:
    """Return the error of a computer whose kernel gives no namespaces (a sentence, a remedy), and where User-Mode Linux
    cannot start either (`missing`)."""
    if platform.system() == "Linux":
        hint += f". User-Mode Linux would do instead: {missing.hint or missing.message}"
    return NamespacesForbidden(forbidden, hint)


@lru_cache(maxsize=1)
def _may_trace() -> bool:
    """Return whether a process here may be traced by its parent (ptrace(2)), as all of User-Mode Linux's are."""
    program = "import ctypes; raise SystemExit(ctypes.CDLL(None).ptrace(0, 0, 0, 0) != 0)"
    return subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, check=False).returncode == 0


@lru_cache
def _tried(features: tuple[str, ...]) -> dict[str, Any]:
    """Return {"lacking": features}, or {"error": ..., "hint": ...} where no lab machine of kind namespaces starts.

    In a process of its own: the one that starts a lab machine stays in its namespaces."""
    command = [sys.executable, "-P", "-m", "labkit.machine.suits", *features]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        return {"error": f"failed to start a lab machine: {last}", "hint": "please report this"}


def _try(features: Sequence[str]) -> int:
    """In a lab machine: print which of the features it lacks, as JSON."""
    from labkit.machine import programs
    from labkit.machine.probe import try_here

    os.environ["PATH"] = f"{programs.REAL}:{os.environ['PATH']}"
    lacking = [answer.name for answer in try_here(features) if not answer.works]
    print(json.dumps({"lacking": lacking}), flush=True)
    return 0


if __name__ == "__main__":
    from labkit.machine import launch

    try:
        sys.exit(launch.start(lambda: _try(sys.argv[1:])))
    except LabkitError as error:
        print(json.dumps({"error": error.message, "hint": error.hint}))
