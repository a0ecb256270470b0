"""Logs: what has a container printed?

What it writes goes through a pipe to the spawner, which keeps the last part of it in a file, as a node does."""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["FOLDER", "MOST", "Log", "path"]

FOLDER = "/run/labkit/kube/logs"
MOST = 1 << 20  # bytes of the file; half of it is kept when it is full
_CHUNK = 1 << 16


def path(pod: str, container: str) -> str:
    """Return the file with what the container prints; started again, the one before it is in a file that ends in .1."""
    return f"{FOLDER}/{pod}/{container}.log"


class Log:
    """The log of one container that runs: `writer` is its end of the pipe, `reader` ours. Raises OSError."""

    def __init__(self, path: str) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with suppress(FileNotFoundError):
            os.rename(path, path + ".1")
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._size = 0
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.reader, False)

    def close_writer(self) -> None:
        """The container has its end of the pipe."""
        os.close(self.writer)

    def copy(self) -> bool:
        """Take over what waits in the pipe, 64 KiB at most. Return whether anybody can still write there.

        Raises BlockingIOError where nothing waits."""
        data = os.read(self.reader, _CHUNK)
        if self._size + len(data) > MOST:
            self._forget_half()
        self._size += os.write(self._file, data)
        return bool(data)

    def close(self) -> None:
        """The container has ended: what it said last is in the file."""
        with suppress(BlockingIOError):
            for _ in range(MOST // _CHUNK):  # who still writes does not keep us
                if not self.copy():
                    break
        os.close(self.reader)
        os.close(self._file)

    def _forget_half(self) -> None:
        """Keep the file's second half, from the beginning of a line."""
        kept = os.pread(self._file, MOST // 2, max(0, self._size - MOST // 2))
        kept = kept[kept.find(b"\n") + 1 :]
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self._size = os.write(self._file, kept)
