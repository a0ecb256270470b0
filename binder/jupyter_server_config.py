# Binder starts the server, and this makes it the course's: it goes to .venv/etc/jupyter in the image.
from labkit import server

server.configure(get_config())  # noqa: F821  Jupyter provides it
