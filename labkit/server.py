"""How does a learner get in? `labkit lab` opens JupyterLab on the working copy of the course.

The server listens on 127.0.0.1 and asks for a token; its settings and its state live in the working copy, so that
nothing in the user's own Jupyter folders is read or changed; and it looks for no news, no updates, no extensions.
Where somebody else starts the server, as Binder does, `configure` in its configuration file makes it the same.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import sys
import urllib.request
import webbrowser
from typing import Any, NoReturn

from labkit import course

__all__ = ["add_arguments", "configure", "environment", "main"]

FIRST = "notebooks/00-your-lab-machine.ipynb"
STATE = os.path.join(".labkit", "jupyter")
KERNELS = ("labkit", "labkit-uml")
PAGE = {
    "buildCheck": False,
    "buildAvailable": False,
    "disabledExtensions": {"@jupyter/nbgrader": True},  # there only where tests were set up; nothing for a learner
}
NBGRADER = [
    f"nbgrader.server_extensions.{n}" for n in ("formgrader", "validate_assignment", "assignment_list", "course_list")
]
EXTENSIONS = {**dict.fromkeys(NBGRADER, False), "labkit.saved": True}
SETTINGS: dict[str, dict[str, object]] = {
    "config/jupyter_server_config.json": {"ServerApp": {"jpserver_extensions": EXTENSIONS}},
    "settings/overrides.json": {
        "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}
    },
    "settings/page_config.json": PAGE,
}
# JupyterLab draws an SVG at its full width, and a narrow window cuts it off.
STYLE = ".jp-RenderedSVG:not(.jp-mod-unconfined) img { max-width: 100%; height: auto; }\n"
FILES = {
    **{name: json.dumps(content, indent=1) for name, content in SETTINGS.items()},
    "config/custom/custom.css": STYLE,
}


_directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach 127.0.0.1 for us


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit lab` understands."""
    parser.description = (
        "Open the course in JupyterLab. You work in a copy of your own; new versions of what you have not written in "
        "come by themselves, and what you wrote stays. Ctrl-C ends it, and every lab machine with it."
    )
    parser.add_argument(
        "--port", type=int, default=8888, help="the port on 127.0.0.1 (default: 8888, or the next free)"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
    parser.add_argument("--dir", metavar="FOLDER", help="your copy of the course (default: course/ in the project)")


def main(arguments: argparse.Namespace) -> int:
    """Bring the working copy up to date, then become JupyterLab; return 0 when one runs there already."""
    folder = os.path.abspath(os.path.expanduser(arguments.dir or course.default_folder()))
    begun = os.path.isdir(os.path.join(folder, STATE))
    delivered = course.refresh(folder)
    for name, state in delivered:
        if begun:
            print(f"labkit: {name}: {course.DONE[state]}")
    if why := course.why_recorded():
        print(f"labkit: nothing runs here, so lessons are recordings. {why}")
    for name, state in course.files(folder):
        if state == "offered":
            print(f"labkit: {name}: {course.STATES[state].format(name=name)}")
    if url := running(folder):
        print(f"JupyterLab runs on this copy already:\n\n    {url}\n")
        if _has_display() and not arguments.no_browser:
            webbrowser.open(url)
        return 0
    _write_settings(folder)
    print(f"labkit: opening {folder} (Ctrl-C ends it)", flush=True)
    return _become(_command(arguments, folder, first=not begun), folder)


def running(folder: str) -> str | None:
    """Return the address, token included, of a JupyterLab that answers on this working copy."""
    for path in glob.glob(os.path.join(folder, STATE, "data", "runtime", "jpserver-*.json")):
        try:
            with open(path, encoding="utf-8") as file:
                known = json.load(file)
            os.kill(known["pid"], 0)
            with _directly.open(f"{known['url']}api?token={known['token']}", timeout=2):
                return f"{known['url']}lab?token={known['token']}"
        except (OSError, ValueError, KeyError):
            continue
    return None


def configure(config: Any) -> None:
    """A server that somebody else starts opens the course as `labkit lab` does: `configure(get_config())` in a Jupyter
    configuration file. Who starts it says where it listens, and sets the variables of `environment`."""
    folder = os.environ.get("LABKIT_COURSE") or course.default_folder()
    course.refresh(folder)
    _write_settings(folder)
    for name, value in {**_settings(folder), "LabApp.default_url": _start(folder)}.items():
        section, _, trait = name.partition(".")
        config[section][trait] = value
    config.KernelSpecManager.allowed_kernelspecs = set(KERNELS)


def environment(folder: str) -> dict[str, str]:
    """Return the variables by which Jupyter keeps its things in the working copy `folder`, and labkit finds that."""
    state = os.path.join(folder, STATE)
    return {
        "JUPYTER_CONFIG_DIR": os.path.join(state, "config"),
        "JUPYTER_DATA_DIR": os.path.join(state, "data"),
        "JUPYTER_RUNTIME_DIR": os.path.join(state, "data", "runtime"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "LABKIT_COURSE": folder,
    }


def _become(command: list[str], folder: str) -> NoReturn:
    """Jupyter is this process from now on, and gets the signals itself."""
    os.chdir(folder)
    path = f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}"
    os.execve(command[0], command, {**os.environ, **environment(folder), "PATH": path})  # noqa: S606


def _command(arguments: argparse.Namespace, folder: str, *, first: bool) -> list[str]:
    options: dict[str, object] = {
        **_settings(folder),
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": arguments.port,
        "ServerApp.open_browser": _has_display() and not arguments.no_browser,
        "ServerApp.allow_root": os.geteuid() == 0,
        "ServerApp.answer_yes": True,
        "Application.log_level": "WARN",
        "LabApp.default_url": _start(folder) if first else "/lab",
    }
    kernels = [f"--KernelSpecManager.allowed_kernelspecs={name}" for name in KERNELS]
    return [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items()), *kernels]


def _start(folder: str) -> str:
    return f"/lab/tree/{FIRST}" if os.path.exists(os.path.join(folder, FIRST)) else "/lab"


def _settings(folder: str) -> dict[str, object]:
    """Return what every server of the course has, whoever starts it."""
    return {
        "ServerApp.root_dir": folder,
        "LabApp.custom_css": True,
        "LabApp.news_url": None,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
        "LabApp.app_settings_dir": os.path.join(folder, STATE, "settings"),
        # named, since Jupyter otherwise adds -l, and /etc/profile takes labkit off the terminal's PATH
        "ServerApp.terminado_settings": {"shell_command": [os.environ.get("SHELL") or "/bin/bash"]},
        "KernelSpecManager.ensure_native_kernel": False,
        "MultiKernelManager.default_kernel_name": "labkit",
    }


def _write_settings(folder: str) -> None:
    for name, content in FILES.items():
        path = os.path.join(folder, STATE, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(content)
        os.replace(f"{path}.new", path)


def _has_display() -> bool:
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
