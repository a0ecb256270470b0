"""How does it move? Views that follow the kernel, and step through a capture or a trace.

The only place where views meet the kernel: `view` feeds a widget from labkit.state's notifications; the picture itself
is drawn by labkit.see, here as everywhere.
"""

from __future__ import annotations

from typing import Any

from labkit.errors import WrongUse
from labkit.kube.client import Cluster
from labkit.lab import Lab, Topology
from labkit.live.view import View
from labkit.packets import Capture, Frames
from labkit.state import Snapshot
from labkit.tracing.records import Trace

__all__ = ["View", "view"]


def view(x: Any = None) -> View:
    """Return the live view of a Lab, or of all that is there, as for a Cluster; of other pictures, one to open.

    In JupyterLab it moves and answers; saved notebooks, terminals and GitHub show its static form. `.close()` ends it.
    Raises WrongUse, NotInLabMachine."""
    from labkit.live import topology

    if x is None or isinstance(x, Lab):
        return topology.follow_view(x)
    if isinstance(x, Cluster):  # pods come and go
        return topology.follow_view()
    if isinstance(x, Snapshot | Topology):
        return topology.still_view(x)
    if isinstance(x, Frames | Capture):
        from labkit.live.capture import capture_view

        return capture_view(x)
    if isinstance(x, Trace):
        from labkit.live.trace import trace_view

        return trace_view(x)
    raise WrongUse(
        f"failed to view a {type(x).__name__}: there is no picture of it",
        "a view is of a Lab, Cluster, Snapshot, Topology, capture or Trace; without argument, of all that is there",
    )
