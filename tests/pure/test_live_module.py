"""The views' ES module: it is small, asks nobody for anything, and does in a fake page what it should (under node)."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from labkit.live.view import module, styles

HERE = os.path.dirname(os.path.abspath(__file__))
NODE = shutil.which("node") or shutil.which("nodejs")


def test_the_module_is_small() -> None:
    assert len(module().encode()) < 40_000
    assert len(styles().encode()) < 20_000


def test_the_module_imports_nothing_and_knows_no_address() -> None:
    assert not re.search(r"^\s*import\b|\bimport\s*\(", module(), re.MULTILINE)
    for text in (module(), styles()):
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket|\beval\(|innerHTML", text)


def test_the_module_has_one_export() -> None:
    assert re.findall(r"^export .*", module(), re.MULTILINE) == ["export default {"]


@pytest.mark.parametrize("path", sorted(glob.glob("js/*.test.mjs", root_dir=HERE)))
def test_under_node(path: str, tmp_path: Path) -> None:
    if NODE is None:
        pytest.skip("no node: install the package nodejs")
    joined = tmp_path / "views.mjs"
    joined.write_text(module())
    result = subprocess.run(
        [NODE, os.path.join(HERE, path)],
        env={**os.environ, "LABKIT_MODULE": joined.as_uri()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    passed = re.search(r"^\S+ pass (\d+)$", result.stdout, re.MULTILINE)
    with open(os.path.join(HERE, path), encoding="utf-8") as file:
        written = len(re.findall(r"^test\(", file.read(), re.MULTILINE))
    assert passed, result.stdout
    assert int(passed[1]) == written > 0
