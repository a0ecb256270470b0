"""Who steps into a namespace to open a socket there, so that nobody else has to?

A thread of its own does, and comes back with the socket; the socket stays where it was made. The caller's thread never
moves, so an interrupt (Ctrl-C reaches the main thread only) cannot leave it in the wrong namespace.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from labkit.net.namespace import enter

__all__ = ["inside"]

Result = TypeVar("Result")


def inside(namespace: str, function: Callable[[], Result]) -> Result:
    """Call `function` inside `namespace` and return what it returns, or raise what it raises."""
    results: list[Result] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with enter(namespace):
                results.append(function())
        except BaseException as failure:  # noqa: BLE001 - handed to the caller's thread
            failures.append(failure)

    thread = threading.Thread(target=work, name=f"labkit-inside-{namespace}")
    thread.start()
    try:
        thread.join()
    except BaseException:  # an interrupt: what was opened meanwhile belongs to nobody
        thread.join()
        for result in results:
            getattr(result, "close", lambda: None)()
        raise
    if failures:
        raise failures[0]
    return results[0]
