"""The promise of the README on a computer that has nothing but git, python3 and make. One long story, told in order."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fresh.debian import Debian, bootstrap, mirror

from setup import witness

PROJECT = Path(__file__).parent.parent.parent
POLICY = "/usr/sbin/policy-rc.d"
PROBE = """
mkdir -p /probe/DEBIAN /probe/etc/init.d
printf '%s\\n' 'Package: probe' 'Version: 1' 'Architecture: all' 'Maintainer: nobody' 'Description: has a service' \\
    > /probe/DEBIAN/control
printf '#!/bin/sh\\n[ "$1" != start ] || touch /started\\n' > /probe/etc/init.d/probe
printf '#!/bin/sh\\nupdate-rc.d probe defaults\\ninvoke-rc.d probe start\\n' > /probe/DEBIAN/postinst
chmod 755 /probe/etc/init.d/probe /probe/DEBIAN/postinst
dpkg-deb --build /probe /probe.deb
"""
INSTALL_PROBE = "cd /opt/labkit && python3 -c 'from setup import packages; packages._apt([\"/probe.deb\"])'"
NOT_INSTALLED = (
    "labkit: not installed: tcpdump (that needs root, and sudo asks for a password where nobody can type it). "
    "What is lost: tcpdump in a terminal (labkit's own captures work). Everything else works."
)

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def debian() -> Iterator[Debian]:
    if not shutil.which("debootstrap"):
        pytest.skip("no debootstrap: apt-get install debootstrap")
    if not mirror("bookworm"):
        pytest.skip("this computer's apt knows no mirror of Debian 12")
    folder = Path(tempfile.mkdtemp(prefix="labkit-debian-", dir="/var/tmp"))
    try:
        fresh = bootstrap(folder / "root")
        clone = ["git", "clone", "-q", str(PROJECT), str(fresh.root / "opt" / "labkit")]
        subprocess.run(clone, check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}, umask=0o022)
        yield fresh
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=True)


def test_no_service_starts_when_set_up_installs_and_one_does_otherwise(debian: Debian) -> None:
    assert debian.run(PROBE).returncode == 0
    for policy in (None, "#!/bin/sh\nexit 0\n"):  # none there, and somebody else's that lets services start
        if policy:
            debian.write(POLICY, policy)
        assert debian.run(INSTALL_PROBE).returncode == 0
        assert "install ok installed" in debian.run("dpkg -s probe").stdout
        assert not debian.has("/started")
        assert debian.has(POLICY) == bool(policy)
        debian.run("dpkg --purge probe")
    debian.run("dpkg -i /probe.deb")
    assert debian.has("/started"), "the control: where nothing denies it, it starts"
    debian.run(f"rm {POLICY}")


def test_set_up_killed_in_the_middle_is_finished_by_the_next(debian: Debian) -> None:
    before = witness.look()
    killed = """cd /opt/labkit; setsid make setup &
    while [ ! -d .venv/lib/python3.11/site-packages/zmq ]; do sleep 0.05; done
    kill -9 -$!; [ -e .venv/unfinished ]"""
    result = debian.run(killed)
    assert result.returncode == 0, result.stdout
    result = debian.run("cd /opt/labkit && umask 077 && make setup")
    assert result.returncode == 0, result.stdout
    assert not debian.has("/opt/labkit/.venv/unfinished")
    assert not debian.has(POLICY)
    assert witness.settled_changes(before) == []


def test_a_second_set_up_takes_seconds_and_does_nothing(debian: Debian) -> None:
    begun = time.monotonic()
    result = debian.run("cd /opt/labkit && make setup")
    assert result.stdout == ""
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("user", ["root", "61234"])
def test_a_lab_machine_starts(debian: Debian, user: str) -> None:
    command = "/opt/labkit/.venv/bin/labkit run -- sh -c 'ip netns add red && ip -n red -br link'"
    result = debian.run(f"cd /opt/labkit && {command}", user)
    assert result.returncode == 0, result.stdout
    assert result.stdout.split()[0] == "lo"


def test_make_lab_prints_an_address_with_a_token(debian: Debian) -> None:
    result = debian.run("cd /opt/labkit && timeout -s INT 20 make lab ARGS='--no-browser --port 0'")
    assert "http://127.0.0.1:" in result.stdout
    assert "token=" in result.stdout
    assert "Traceback" not in result.stdout
    assert debian.has("/opt/labkit/course/notebooks/00-your-lab-machine.ipynb")


def test_a_user_with_sudo_does_it_alone(debian: Debian) -> None:
    prepare = """apt-get install -qy sudo && useradd -m -s /bin/sh learner && apt-get remove -qy tcpdump conntrack
    echo 'learner ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/learner"""
    assert debian.run(prepare).returncode == 0
    command = "cd && git clone -q /opt/labkit mine && cd mine && make setup && .venv/bin/labkit run -- ip link"
    result = debian.run(f"git config --global safe.directory '*'; {command}", "learner")
    assert result.returncode == 0, result.stdout
    assert debian.has("/usr/bin/tcpdump")
    assert not debian.has(POLICY)


def test_a_user_without_sudo_is_told_what_is_missing_and_goes_on(debian: Debian) -> None:
    prepare = "rm /etc/sudoers.d/learner && apt-get remove -qy tcpdump && rm -rf ~learner/mine/.venv"
    assert debian.run(prepare).returncode == 0
    result = debian.run("cd && cd mine && make setup && .venv/bin/labkit run -- ip link", "learner")
    assert result.returncode == 0, result.stdout
    assert [line for line in result.stdout.splitlines() if "not installed" in line] == [NOT_INSTALLED]


def test_uninstall_leaves_the_learners_work_and_names_the_packages(debian: Debian) -> None:
    result = debian.run("cd /opt/labkit && make uninstall")
    assert result.returncode == 0, result.stdout
    assert "sudo apt-get remove" in result.stdout
    assert "python3-venv" in result.stdout
    assert not debian.has("/opt/labkit/.venv")
    assert debian.has("/opt/labkit/course")
    debian.run("cd /opt/labkit && make uninstall COURSE=yes")
    left = debian.run("cd /opt/labkit && git status --porcelain --ignored").stdout.splitlines()
    assert [line for line in left if not line.endswith("__pycache__/")] == []
