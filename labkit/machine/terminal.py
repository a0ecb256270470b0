"""The terminal goes back to whom it belonged: a shell inside a PID namespace cannot give it back itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["kept"]


@contextmanager
def kept() -> Iterator[None]:
    """After the block, the terminal on stdin belongs to this process group again, if it did before."""
    before = None
    with suppress(OSError):
        group = os.tcgetpgrp(0)
        before = group if group == os.getpgrp() else None
    process = os.getpid()
    try:
        yield
    finally:
        if before is not None and os.getpid() == process:
            handler = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            with suppress(OSError):
                os.tcsetpgrp(0, before)
            signal.signal(signal.SIGTTOU, handler)
