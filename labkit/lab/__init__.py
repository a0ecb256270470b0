"""What is built? A Topology is data; `build` makes it real; a Lab is the live thing."""

from labkit.lab.build import Lab, build, labs
from labkit.lab.run import Ran, run
from labkit.lab.topology import Bridge, Cable, Container, Interface, Topology

__all__ = ["Bridge", "Cable", "Container", "Interface", "Lab", "Ran", "Topology", "build", "labs", "run"]
