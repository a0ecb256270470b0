"""The way back: what does set-up leave on this computer, and how does it go away?"""

from __future__ import annotations

import os
import shutil

from . import PROJECT, VENV, packages, say


def uninstall(*, course: bool = False) -> None:
    """`.venv` is gone; the learner's `course/` too, but only when asked. System packages stay, and are named."""
    working_copy = os.path.join(PROJECT, "course")
    for folder in (VENV, *([working_copy] if course else [])):
        if os.path.isdir(folder):
            shutil.rmtree(folder)
            say(f"removed {folder}")
    if os.path.isdir(working_copy):
        say(f"kept {working_copy}, your work (`make uninstall COURSE=yes` removes it too)")
    if names := packages.installed_by_set_up():
        say(f"kept the system packages that set-up installed; to remove them: sudo apt-get remove {' '.join(names)}")
        os.unlink(packages.RECORD)
