"""labkit: the live lab under the course on container networking."""

__version__ = "0.1.0"
