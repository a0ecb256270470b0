"""Where did it go, and why? One packet and its answer, followed through every interface of every namespace at once.

probes       what is sent                        following   is this it, or its answer?
rules        which firewall rules it met         headers     which packets are in a frame
evidence     all of it, around one send          lookups     what the kernel says when asked
path         from frames to one way              network     what is at the other end, above, below
deciding     what decided each step              loss        why it got no further
follow       trace(): all of it together         records     the Trace: plain data
"""

from labkit.tracing.follow import trace
from labkit.tracing.records import CAUSES, Cause, Change, Decision, Headers, Hop, Trace

__all__ = ["CAUSES", "Cause", "Change", "Decision", "Headers", "Hop", "Trace", "trace"]
