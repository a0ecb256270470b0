"""The README's pictures are what a lab looks like today."""

from __future__ import annotations

import importlib.util
import os

import pytest

from labkit.net import here

DOCS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "docs")


def test_the_readme_shows_what_a_lab_draws_now() -> None:
    if here.on_user_mode_linux():
        pytest.skip("needs: nftables, whose rules the README's trace names")
    spec = importlib.util.spec_from_file_location("pictures", os.path.join(DOCS, "pictures.py"))
    assert spec
    assert spec.loader
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    for name, svg in pictures.draw().items():
        with open(os.path.join(DOCS, "img", name), encoding="utf-8") as file:
            assert file.read() == svg, f"{name}: run `make pictures`"
