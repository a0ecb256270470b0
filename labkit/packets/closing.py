"""Who closes a packet socket?

Closing one takes about 16 ms, because the kernel waits until no processor can still be handing it a packet. Threads
that end by themselves do that waiting; at most `MOST` sockets wait at a time, and then the caller waits too.
"""

from __future__ import annotations

import threading
from typing import Protocol

__all__ = ["MOST", "close_elsewhere"]

MOST = 16
_places = threading.BoundedSemaphore(MOST)


class Closable(Protocol):
    def close(self) -> None: ...


def close_elsewhere(*things: Closable) -> None:
    """Close `things`, in this order, soon."""
    _places.acquire()

    def work() -> None:
        try:
            for thing in things:
                thing.close()
        finally:
            _places.release()

    threading.Thread(target=work, name="labkit-closing", daemon=True).start()
