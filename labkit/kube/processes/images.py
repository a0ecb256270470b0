"""Images: what can a container run here?

A real node downloads an image; a lab machine has nowhere to download one from. What a container runs is one of this
short list of small programs (`servers`), each on ordinary sockets of its pod.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from labkit.errors import NotFound

__all__ = ["IMAGES", "Image", "image"]


@dataclass(frozen=True)
class Image:
    """A program that a container can run.

    `arguments`: what it understands in `args`, as a usage line would say it; `ports`: where it listens unless `args`
    say otherwise, as (number, protocol). `runs_arguments`: without a `command`, its `args` are one."""

    name: str
    about: str
    arguments: str = ""
    ports: tuple[tuple[int, str], ...] = ()
    runs_arguments: bool = False


_DNS = ((53, "UDP"), (53, "TCP"))

IMAGES: dict[str, Image] = {
    known.name: known
    for known in (
        Image("dns", "answers DNS queries for the names in its args", "[--port PORT] NAME=ADDRESS...", _DNS),
        Image("echo", "answers HTTP requests with who asked, and whom", "[--port PORT]", ((8080, "TCP"),)),
        Image("pause", "does nothing"),
        Image("tools", "sleeps, or runs its args; made to run commands in", "[COMMAND...]", runs_arguments=True),
        Image("udp-echo", "answers UDP datagrams with who sent them, and to whom", "[--port PORT]", ((8081, "UDP"),)),
    )
}
_FORM = re.compile(r"(?:labkit/)?([a-z0-9]+(?:-[a-z0-9]+)*)(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?")


def image(text: str) -> Image:
    """Return the image that `text` names: "echo", "echo:1.0" (the tag changes nothing) or "labkit/echo".

    Raises NotFound."""
    form = _FORM.fullmatch(text)
    if form is None or form[1] not in IMAGES:
        raise NotFound(
            f"failed to pull image '{text}': a lab machine has no image '{text}'",
            f"images here: {', '.join(IMAGES)}",
        )
    return IMAGES[form[1]]
