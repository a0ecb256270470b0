"""How do a cluster's clients speak with its controller?

By a Unix socket in the lab machine's /run: one line of JSON asks, {"verb": ..., ...}, and one answers, {"result": ...}
or {"error": {"reason", "message", "hint", "kind"}}. An error is raised on the other side as what it was.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from labkit import errors
from labkit.errors import Duplicate, LabkitError, NotFound, Refused, Unavailable, WrongUse
from labkit.net.here import RUN

__all__ = ["FOLDER", "SOCKET", "ask", "error_as_data", "raised", "reason_of", "refusal"]

FOLDER = f"{RUN}/kube"
SOCKET = f"{FOLDER}/socket"
_KINDS: dict[str, type[LabkitError]] = {  # by the API server's reasons, metav1.StatusReason
    "NotFound": NotFound,
    "AlreadyExists": Duplicate,
    "Invalid": WrongUse,
    "BadRequest": WrongUse,
    "Forbidden": WrongUse,
    "Conflict": WrongUse,
    "Timeout": Unavailable,
    "InternalError": Refused,
}


def refusal(reason: str, message: str, hint: str = "") -> LabkitError:
    """Return an error in the API server's words; its `reason` is what kubectl prints in parentheses."""
    error = _KINDS[reason](message, hint)
    error.reason = reason  # type: ignore[attr-defined]
    return error


def reason_of(error: LabkitError) -> str:
    """Return the API server's reason for an error."""
    known = getattr(error, "reason", None) or next(
        (name for name, kind in _KINDS.items() if type(error) is kind), "InternalError"
    )
    return str(known)


def error_as_data(error: LabkitError) -> dict[str, Any]:
    """Return an error as it travels."""
    kind = type(error).__name__
    return {"reason": reason_of(error), "message": error.message, "hint": error.hint, "kind": kind}


def ask(verb: str, patience: float | None = None, path: str = SOCKET, **arguments: Any) -> Any:
    """Return what the controller answers. Raises what it refuses with; NotFound where no cluster runs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
        try:
            there.connect(path)
        except OSError as error:
            raise NotFound(
                f"failed to reach the cluster of this lab machine: {os.strerror(error.errno or 0).lower()}",
                "none runs here: start one with labkit cluster up, or in Python labkit.kube.up()",
            ) from error
        there.settimeout(patience)
        there.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
        with there.makefile("rb") as answers:
            line = answers.readline()
    if not line:
        raise Unavailable(f"failed to {verb}: the cluster ended while it was asked", f"its words: {FOLDER}/log")
    answer = json.loads(line)
    if "error" in answer:
        raise raised(answer["error"])
    return answer["result"]


def raised(said: dict[str, Any]) -> LabkitError:
    """Return the error that travelled."""
    kind: type[LabkitError] = getattr(errors, said["kind"], LabkitError)
    error = kind(said["message"], said["hint"])
    error.reason = said["reason"]  # type: ignore[attr-defined]
    return error
