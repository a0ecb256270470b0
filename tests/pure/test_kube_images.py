"""Images: the short list, and how one is named."""

from __future__ import annotations

import pytest

from labkit.errors import NotFound
from labkit.kube.processes.images import IMAGES, image


@pytest.mark.parametrize("text", ["echo", "echo:1.0", "labkit/echo", "labkit/echo:latest"])
def test_an_image_is_found_with_and_without_tag_and_repository(text: str) -> None:
    assert image(text) is IMAGES["echo"]


@pytest.mark.parametrize(
    "text", ["nginx", "echo:", "docker.io/echo", "Echo", "echo@sha256:abc", "", "labkit/", "echo 1"]
)
def test_any_other_image_is_refused_with_the_list(text: str) -> None:
    with pytest.raises(NotFound) as refused:
        image(text)
    assert str(refused.value) == (
        f"failed to pull image '{text}': a lab machine has no image '{text}'\n"
        "images here: dns, echo, pause, tools, udp-echo"
    )


def test_every_image_says_what_it_is_and_where_it_listens() -> None:
    assert all(one.about and one.name == name for name, one in IMAGES.items())
    ports = {name: one.ports for name, one in IMAGES.items() if one.ports}
    assert ports == {"dns": ((53, "UDP"), (53, "TCP")), "echo": ((8080, "TCP"),), "udp-echo": ((8081, "UDP"),)}
