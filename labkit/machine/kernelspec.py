"""The kernelspec `labkit`: how Jupyter finds the kernel."""

from __future__ import annotations

import json
import os
import shutil
import sys

__all__ = ["NAME", "install", "uninstall"]

NAME = "labkit"


def install(prefix: str) -> str:
    """Write PREFIX/share/jupyter/kernels/labkit for this very Python, and return that folder.

    The argv has the shape that VS Code demands: an interpreter, -m, a module, -f, {connection_file}."""
    folder = _folder(prefix)
    os.makedirs(folder, exist_ok=True)
    spec = {
        "argv": [sys.executable, "-m", "labkit.machine.kernel", "-f", "{connection_file}"],
        "env": {"PYTHONSAFEPATH": "1"},  # a json.py or labkit/ beside the notebook must not become the launcher
        "display_name": "labkit",
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {"debugger": True},
    }
    _replace(os.path.join(folder, "kernel.json"), json.dumps(spec, indent=1) + "\n")
    _replace(os.path.join(folder, "logo-svg.svg"), _LOGO)
    return folder


def uninstall(prefix: str) -> None:
    """Take it away. Removing what is gone is success."""
    shutil.rmtree(_folder(prefix), ignore_errors=True)


def _folder(prefix: str) -> str:
    return os.path.join(prefix, "share", "jupyter", "kernels", NAME)


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
