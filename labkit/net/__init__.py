"""The kernel's objects: one module each, one verb per function, in iproute2's words."""
