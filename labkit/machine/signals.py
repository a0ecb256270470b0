"""Signals as something to wait for, beside descriptors: the launcher and init both live in such a loop."""

from __future__ import annotations

import os
import select
import signal

__all__ = ["FORWARDED", "Waiter", "original_dispositions"]

FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Waiter:
    """Waits for signals and descriptors together.

    Signals that this process was told to ignore (nohup, a background job) stay ignored. `descriptor` is readable
    when a signal came."""

    def __init__(self, *descriptors: int) -> None:
        self.descriptor, self.wakeup = os.pipe()
        for end in (self.descriptor, self.wakeup):
            os.set_blocking(end, False)
        self.changed: dict[signal.Signals, object] = {}
        self._poll = select.poll()
        self._poll.register(self.descriptor, select.POLLIN)
        for descriptor in descriptors:
            self.watch(descriptor)
        signal.set_wakeup_fd(self.wakeup, warn_on_full_buffer=False)
        for number in (*FORWARDED, signal.SIGCHLD):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN or number == signal.SIGCHLD:
                self.changed[number] = before
                signal.signal(number, lambda _number, _frame: None)

    def watch(self, descriptor: int) -> None:
        """Wait for `descriptor` too."""
        self._poll.register(descriptor, select.POLLIN)

    def forget(self, descriptor: int) -> None:
        """Wait for `descriptor` no longer."""
        self._poll.unregister(descriptor)

    def signals(self) -> set[int]:
        """Return the signals that came since the last call, without waiting."""
        try:
            return set(os.read(self.descriptor, 4096))
        except BlockingIOError:
            return set()

    def wait(self, timeout: float | None = None) -> set[int]:
        """Wait until something happens, or `timeout` seconds; return the descriptors that have something to say."""
        ready = {descriptor for descriptor, _ in self._poll.poll(None if timeout is None else timeout * 1000)}
        return ready - {self.descriptor}


def original_dispositions(waiter: Waiter) -> None:
    """In a new child: signals do again what they did before `waiter`, and what Python changed at its own start."""
    signal.set_wakeup_fd(-1)
    for number, before in waiter.changed.items():
        signal.signal(number, before if callable(before) or isinstance(before, signal.Handlers) else signal.SIG_DFL)
