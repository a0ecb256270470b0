"""The kernelspecs: how Jupyter finds the kernel, `labkit`, and the same in User-Mode Linux, `labkit-uml`."""

from __future__ import annotations

import json
import os
import shutil
import sys

__all__ = ["NAMES", "install", "uninstall"]

NAMES = ("labkit", "labkit-uml")


def install(prefix: str) -> str:
    """Write the kernelspecs into PREFIX/share/jupyter/kernels, for this very Python, and return that folder.

    They differ by a variable, LABKIT_MACHINE. The argv has the shape that VS Code demands: an interpreter, -m, a
    module, -f, {connection_file}."""
    kernels = os.path.join(prefix, "share", "jupyter", "kernels")
    for name in NAMES:
        # PYTHONSAFEPATH: a json.py or labkit/ beside the notebook must not become the launcher
        environment = {"PYTHONSAFEPATH": "1"} | ({"LABKIT_MACHINE": "uml"} if name == "labkit-uml" else {})
        spec = {
            "argv": [sys.executable, "-m", "labkit.machine.kernel", "-f", "{connection_file}"],
            "env": environment,
            "display_name": name,
            "language": "python",
            "interrupt_mode": "signal",
            "metadata": {"debugger": True},
        }
        folder = os.path.join(kernels, name)
        os.makedirs(folder, exist_ok=True)
        _replace(os.path.join(folder, "kernel.json"), json.dumps(spec, indent=1) + "\n")
        _replace(os.path.join(folder, "logo-svg.svg"), _LOGO)
    return kernels


def uninstall(prefix: str) -> None:
    """Take it away. Removing what is gone is success."""
    for name in NAMES:
        shutil.rmtree(os.path.join(prefix, "share", "jupyter", "kernels", name), ignore_errors=True)


def _replace(path: str, text: str) -> None:
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.new", path)


_LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" role="img"><title>labkit</title>
<rect x="2" y="2" width="60" height="60" rx="12" fill="#1f4e79"/>
<g fill="none" stroke="#fff" stroke-width="4"><path d="M19 27v11h26V27M32 38v9"/></g>
<g fill="#fff"><rect x="11" y="14" width="16" height="13" rx="3"/><rect x="37" y="14" width="16" height="13" rx="3"/>
<circle cx="32" cy="48" r="5"/></g></svg>
"""
