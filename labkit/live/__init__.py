"""How does it move? Views that follow the kernel, and step through a capture or a trace.

The only place where views meet the kernel: `view` feeds a widget from labkit.state's notifications; the picture itself
is drawn by labkit.see, here as everywhere.
"""

from labkit.live.view import View

__all__ = ["View"]
