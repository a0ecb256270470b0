"""What is in .venv, and is it finished?

`.venv` stands on an interpreter that every user of the computer can execute, holds exactly the versions of a lock file,
and has labkit and its kernel in it. `.venv/set-up.json` says from which inputs it was made; while something is
changed in it, `.venv/unfinished` lies there, and a set-up that finds it starts over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys

from . import PROJECT, VENV, SetupError, say

PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "set-up.json")
UNFINISHED = os.path.join(VENV, "unfinished")
INPUTS = ("pyproject.toml", "setup/environment.py", "setup/uv.txt", "labkit/machine/kernelspec.py")
LOCKS = {"lessons": "setup/lessons.txt", "tests": "setup/tests.txt"}


def interpreter() -> str:
    """Return the Python for .venv: the first that every user can execute, or else the one that runs this."""
    for candidate in ("/usr/bin/python3", "/usr/local/bin/python3", sys.executable):
        if _is_new_enough(candidate) and executable_by_all(candidate):
            return candidate
    say(f"only you can execute {sys.executable}: other users of this computer will not be able to use this course.")
    return sys.executable


def executable_by_all(program: str) -> bool:
    """Can every user execute `program`? Each folder on the way must let others pass, links followed."""
    for path in {program, os.path.realpath(program)}:
        while path != "/":
            if not os.stat(path).st_mode & stat.S_IXOTH:
                return False
            path = os.path.dirname(path)
    return True


def provide(kind: str, python: str) -> None:
    """`.venv` holds what `kind` ("lessons" or "tests") needs; nothing is done when it does already."""
    wanted = _fingerprint(kind, python)
    done = _read_stamp()
    if done.get(kind) == wanted and os.path.exists(PYTHON) and not os.path.exists(UNFINISHED):
        return
    try:
        _make(kind, python)
    except OSError as error:
        raise SetupError(f"failed to make .venv: {error.strerror} ({error.filename}).") from error
    stamp = {"tests": wanted, "lessons": _fingerprint("lessons", python)} if kind == "tests" else {kind: wanted}
    if kind == "lessons" and done.get("tests") == _fingerprint("tests", python):
        stamp["tests"] = done["tests"]
    with open(f"{STAMP}.new", "w") as file:
        json.dump(stamp, file, indent=1)
    os.replace(f"{STAMP}.new", STAMP)
    os.unlink(UNFINISHED)


def _make(kind: str, python: str) -> None:
    if os.path.exists(UNFINISHED) or not _stands_on(python):
        shutil.rmtree(VENV, ignore_errors=True)
    os.makedirs(VENV, exist_ok=True)
    with open(UNFINISHED, "w"):
        pass
    if not os.path.exists(os.path.join(VENV, "bin", "pip")):
        say("making .venv")
        _run([python, "-m", "venv", VENV], "failed to make a virtual environment")
    say(f"installing what {kind} need from {LOCKS[kind]}")
    _run([PYTHON, "-m", "pip", "install", "-q", "--require-hashes", "-r", "setup/uv.txt"], "failed to install uv")
    _install_lock(LOCKS[kind])
    uv = [os.path.join(VENV, "bin", "uv"), "pip", "install", "-q", "--offline", "--no-config", "--python", PYTHON]
    _run([*uv, "--no-deps", "--no-build-isolation", "--reinstall", "--editable", "."], "failed to install labkit")
    _run([PYTHON, "-m", "compileall", "-q", "labkit"], "failed to compile labkit")
    install = "import sys; from labkit.machine import kernelspec; kernelspec.install(sys.prefix)"
    _run([PYTHON, "-c", install], "failed to install the kernel")
    _open_for_all(VENV)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(VENV, ".lock"))  # uv leaves it, and everybody could write it


def _install_lock(lock: str) -> None:
    """By uv, which takes seconds; by pip where uv cannot reach what pip's own configuration names."""
    uv = [os.path.join(VENV, "bin", "uv"), "pip", "install", "-q", "--require-hashes", "--compile-bytecode"]
    environment = os.environ | {"UV_LINK_MODE": "copy", "UV_NO_CONFIG": "1"}
    settings = subprocess.run([PYTHON, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    for line in settings.splitlines():
        name, _, value = line.partition("=")
        if name.rpartition(".")[2] == "index-url":
            environment.setdefault("UV_DEFAULT_INDEX", value.strip("'\""))
    if "PIP_FIND_LINKS" in os.environ:
        environment.setdefault("UV_FIND_LINKS", os.environ["PIP_FIND_LINKS"])
    result = subprocess.run([*uv, "--python", PYTHON, "-r", lock], cwd=PROJECT, env=environment, capture_output=True)
    if result.returncode != 0:
        say("uv did not get there; trying with pip")
        _run([PYTHON, "-m", "pip", "install", "-q", "--require-hashes", "-r", lock], f"failed to install {lock}")


def _run(command: list[str], failure: str) -> None:
    result = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        raise SetupError(f"{failure}:\n{result.stdout.strip()[-2000:]}")


def _open_for_all(top: str) -> None:
    """Everybody may read, and execute what the owner may execute."""
    for folder, names, files in os.walk(top):
        for path in [folder, *(os.path.join(folder, name) for name in [*names, *files])]:
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                continue
            wanted = mode | 0o444 | (0o111 if mode & 0o100 else 0)
            if wanted != mode:
                os.chmod(path, wanted)


def _is_new_enough(python: str) -> bool:
    if not os.path.exists(python):
        return False
    return subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).returncode == 0


def _stands_on(python: str) -> bool:
    """Does .venv run, on this very Python, in this very folder? (A moved project or a newer system's Python: no.)"""
    question = "import sys; print(sys.version, sys._base_executable, sys.prefix)"
    if not os.path.exists(PYTHON):
        return not os.path.exists(VENV)
    mine = subprocess.run([PYTHON, "-c", question], capture_output=True, text=True).stdout.split()
    base = subprocess.run([python, "-c", question], capture_output=True, text=True).stdout.split()
    same = [os.path.realpath(words[-2]) for words in (mine, base) if len(words) > 2]
    return mine[:-2] == base[:-2] and len(set(same)) == 1 and mine[-1] == VENV


def _fingerprint(kind: str, python: str) -> str:
    digest = hashlib.sha256()
    for name in (*INPUTS, LOCKS[kind]):
        path = os.path.join(PROJECT, name)
        if os.path.exists(path):
            with open(path, "rb") as file:
                digest.update(name.encode() + b"\0" + file.read())
    version = subprocess.run([python, "-VV"], capture_output=True).stdout
    digest.update(version + python.encode() + PROJECT.encode())
    return digest.hexdigest()


def _read_stamp() -> dict[str, str]:
    try:
        with open(STAMP) as file:
            stamp: dict[str, str] = json.load(file)
            return stamp
    except (OSError, ValueError):
        return {}
