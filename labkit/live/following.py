"""Who hears of changes? All views that follow the kernel share one watcher, which is there while any of them does."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import Protocol

from labkit.state.watch import Watcher, watch

__all__ = ["Follower", "follow", "leave"]


class Follower(Protocol):
    """Something that wants to know."""

    def network_changed(self, namespaces: frozenset[str]) -> None:
        """Something changed in these namespaces. Called in the watcher's thread."""

    def close(self) -> None:
        """This process ends."""


_lock = threading.Lock()
_followers: weakref.WeakSet[Follower] = weakref.WeakSet()
_watcher: Watcher | None = None


def follow(follower: Follower) -> None:
    """`follower` hears of every change from now on, as long as somebody holds it."""
    global _watcher
    with _lock:
        _followers.add(follower)
        if _watcher is None or _watcher.closed:
            _watcher = watch(call=_tell)


def leave(follower: Follower) -> None:
    """`follower` hears no more; the watcher of nobody ends."""
    with _lock:
        _followers.discard(follower)
    _end_if_unused()


def _tell(namespaces: frozenset[str]) -> None:
    with _lock:
        followers = list(_followers)
    for follower in followers:
        follower.network_changed(namespaces)
    if not followers:  # the last one was collected without leaving
        _end_if_unused()


def _end_if_unused() -> None:
    global _watcher
    with _lock:
        unused, _watcher = (None, _watcher) if _followers else (_watcher, None)
    if unused is not None:  # not under the lock: its thread may be waiting for it
        unused.close()


def _close_all(process: int) -> None:
    """Before the labs go, whose exit function is older: pages go on showing what was there, not how it was undone."""
    if os.getpid() == process:
        with _lock:
            followers = list(_followers)
        for follower in followers:
            follower.close()


atexit.register(_close_all, os.getpid())
