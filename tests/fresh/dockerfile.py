"""What does a Dockerfile make of a Debian in a folder? Its own steps, carried out there, with the computer's network.

A Docker engine without a way to a registry cannot build it: it has neither the base image nor what the steps fetch.
Of the instructions, those that the project's Dockerfiles use are understood, and no other.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fresh.debian import Debian

METADATA = ("ENV", "USER", "WORKDIR", "CMD")  # what the image remembers, beside its files


class Instruction(NamedTuple):
    """One instruction, with its variables put in where Docker puts them in (not in RUN, where the shell does it)."""

    word: str
    rest: str


class Dockerfile:
    """A Dockerfile whose context is the folder `context`."""

    def __init__(self, path: Path, context: Path) -> None:
        self.context = context
        self.variables: dict[str, str] = {}
        self.instructions = [self._read(line) for line in _lines(path.read_text())]

    def _read(self, line: str) -> Instruction:
        word, _, rest = line.partition(" ")
        assert word in ("FROM", "ARG", "RUN", "COPY", *METADATA), f"tests/fresh/dockerfile.py does not know {line!r}"
        if word != "RUN":
            rest = re.sub(r"\$\{(\w+)\}", lambda match: self.variables[match[1]], rest.strip())
        if word in ("ARG", "ENV"):
            self.variables |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        return Instruction(word, rest)

    @property
    def base(self) -> str:
        """The image that it starts from."""
        return next(one.rest for one in self.instructions if one.word == "FROM")

    def changes(self) -> list[str]:
        """Return what `docker import --change` has to hear."""
        return [f"{one.word} {one.rest}" for one in self.instructions if one.word in METADATA]

    def carry_out(self, debian: Debian, variables: str = "") -> None:
        """Take the steps in `debian`, as root, with shell assignments `variables` in their environment besides."""
        folder, known = "/", [variables]
        for word, rest in self.instructions:
            if word in ("ARG", "ENV"):
                known.append(f"export {rest}")
            elif word == "WORKDIR":
                folder = rest
            elif word == "COPY":
                self._copy(debian, folder, rest)
            elif word == "RUN":
                script = [*known, f"mkdir -p {folder} && cd {folder}", rest]
                result = debian.run("\n".join(script), limit=900)
                assert result.returncode == 0, f"RUN {rest}\n{result.stdout[-4000:]}"
            elif word == "USER":
                assert not any(one.word in ("RUN", "COPY") for one in self._after(word, rest)), "steps as another user"

    def _after(self, *instruction: str) -> list[Instruction]:
        return self.instructions[self.instructions.index(Instruction(*instruction)) :]

    def _copy(self, debian: Debian, folder: str, rest: str) -> None:
        """Copy the whole context, owned by root: `COPY --chown=root:root . FOLDER`."""
        option, source, target = rest.split()
        assert (option, source) == ("--chown=root:root", "."), rest
        place = debian.root / (Path(folder) / target).relative_to("/")
        copy(self.context, place)
        debian.run(f"chown -R root:root {Path('/') / folder / target}")


def copy(context: Path, place: Path) -> None:
    """The folder `place` holds what Docker sees of `context`."""
    shutil.copytree(context, place, symlinks=True, ignore=_ignored(context), dirs_exist_ok=True)


def _lines(text: str) -> list[str]:
    """Return the instructions, each in one line; comments may stand anywhere."""
    kept = "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return [" ".join(line.split()) for line in kept.replace("\\\n", " ").splitlines()]


def _ignored(context: Path) -> Callable[[str, list[str]], set[str]]:
    """Return for shutil.copytree what .dockerignore says: names at the top, and after **/ anywhere."""
    path = context / ".dockerignore"
    patterns = path.read_text().split() if path.exists() else []

    def ignore(folder: str, names: list[str]) -> set[str]:
        here = [one.removeprefix("**/") for one in patterns if one.startswith("**/") or Path(folder) == context]
        return {name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in here)}

    return ignore
