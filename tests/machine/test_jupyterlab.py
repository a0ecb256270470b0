"""`labkit lab`: on loopback, behind a token, in a copy of the course; it goes with everything that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.jupyter import LABKIT, Jupyter, jupyter, wait_for


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Jupyter]:
    with jupyter(tmp_path / "course") as running:
        yield running


def listening_addresses(pids: list[int]) -> set[str]:
    """Return the local addresses, in the kernel's spelling, on which `pids` accept TCP connections."""
    inodes = set()
    for pid in pids:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                inodes.add(os.readlink(f"/proc/{pid}/fd/{name}").removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                found.add(words[1].split(":")[0])
    return found


def test_it_listens_on_loopback_only_and_wants_its_token(server: Jupyter) -> None:
    assert listening_addresses([server.process.pid]) == {"0100007F"}
    assert server.ask("status")["kernels"] == 0
    with pytest.raises(urllib.error.HTTPError, match="403"):
        server.ask("status", token="wrong")


def test_it_offers_the_kernel_labkit_and_no_other(server: Jupyter) -> None:
    specs = server.ask("kernelspecs")
    assert specs["default"] == "labkit"
    assert set(specs["kernelspecs"]) <= {"labkit", "labkit-uml"}


def test_it_serves_a_copy_and_leaves_the_users_jupyter_alone(server: Jupyter) -> None:
    assert {entry["name"] for entry in server.ask("contents")["content"]} >= {"notebooks"}
    assert not Path(os.environ["HOME"], ".jupyter").exists() or "labkit-test" not in os.environ["HOME"]
    assert (server.course / ".labkit" / "manifest.json").exists()


def test_a_second_start_shows_the_first(server: Jupyter) -> None:
    command = [LABKIT, "lab", "--no-browser", "--dir", str(server.course)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert "JupyterLab runs on this copy already" in second.stdout
    assert server.token in second.stdout


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_kernels(server: Jupyter, how: signal.Signals) -> None:
    server.ask("kernels", {"name": "labkit"})
    started = wait_for("the lab machine is there", server.children)
    assert server.stop(how) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    wait_for("the lab machine is gone", lambda: not [pid for pid in started if alive(pid)], 1)


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
