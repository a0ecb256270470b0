"""No service starts while set-up installs, and nothing stays denied afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from setup import SetupError, policy

HOLD = """
import sys, time
from setup import policy
with policy.services_denied(sys.argv[1]):
    print("inside", flush=True)
    time.sleep(60)
"""


def ask(path: Path) -> int:
    """Ask as invoke-rc.d does: 101 is no, 0 is yes."""
    return subprocess.run([str(path), "ssh", "start"], capture_output=True, timeout=20).returncode


def test_starts_are_denied_inside_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "policy-rc.d"
    with policy.services_denied(str(path)) as (prefix, descriptors):
        assert prefix == []
        assert len(descriptors) == 1
        assert ask(path) == 101
    assert list(tmp_path.iterdir()) == []


def test_kill_9_leaves_nothing_denied(tmp_path: Path) -> None:
    path = tmp_path / "policy-rc.d"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "inside\n"
    assert ask(path) == 101
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert ask(path) == 0, "the lock died with set-up"
    with policy.services_denied(str(path)):
        assert ask(path) == 101, "what the killed one left is used"
    assert not path.exists()


def test_apt_keeps_the_denial_when_set_up_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "policy-rc.d"
    with policy.services_denied(str(path)) as (_, descriptors):
        apt = subprocess.Popen(["sleep", "60"], pass_fds=descriptors)
        os.link(path, tmp_path / "still-there")
    assert ask(tmp_path / "still-there") == 101
    apt.kill()
    apt.wait()
    assert ask(tmp_path / "still-there") == 0


def test_somebody_elses_policy_that_denies_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "policy-rc.d"
    path.write_text("#!/bin/sh\nexit 101\n")
    path.chmod(0o755)
    with policy.services_denied(str(path)) as (prefix, descriptors):
        assert (prefix, descriptors) == ([], [])
    assert path.read_text() == "#!/bin/sh\nexit 101\n"


@pytest.mark.as_root
def test_somebody_elses_policy_that_allows_is_covered_for_apt_alone(tmp_path: Path) -> None:
    path = tmp_path / "policy-rc.d"
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o755)
    with policy.services_denied(str(path)) as (prefix, descriptors):
        seen_by_apt = subprocess.run([*prefix, str(path), "ssh", "start"], pass_fds=descriptors).returncode
        assert (seen_by_apt, ask(path)) == (101, 0)
    assert path.read_text() == "#!/bin/sh\nexit 0\n"


@pytest.mark.as_user
def test_somebody_elses_policy_that_allows_and_cannot_be_covered(tmp_path: Path) -> None:
    path = tmp_path / "policy-rc.d"
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o755)
    with pytest.raises(SetupError, match="is not ours and lets services start, so no package was installed"):
        with policy.services_denied(str(path)):
            pass


def test_two_set_ups_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "policy-rc.d"
    with policy.services_denied(str(path)):
        other = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.5)
    assert other.stdout
    assert other.stdout.readline() == "inside\n"
    assert ask(path) == 101
    other.kill()
    other.wait()
    other.stdout.close()
