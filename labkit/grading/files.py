"""How is a file written so that nobody ever reads half of it?"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress

__all__ = ["write_json", "write_text"]


def write_json(path: str, data: object) -> None:
    """Replace the file by this data as JSON. Raises OSError; the old file is then still there."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def write_text(path: str, text: str) -> None:
    """Replace the file as a whole: a reader finds the old one or the new one. Raises OSError.

    A pipe, a device or a link of that name is written to and stays what it is: root could replace even /dev/null."""
    if os.path.islink(path) or (os.path.exists(path) and not os.path.isfile(path)):
        with open(path, "w", encoding="utf-8") as there:
            there.write(text)
        return
    descriptor, name = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".labkit-")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
