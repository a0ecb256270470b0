"""Whatever dies, nothing is left of a real Docker daemon, and the computer never notices that there was one."""

from __future__ import annotations

import glob
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from machine.conftest import LABKIT, Watch, wait_until, watch  # noqa: F401 - a fixture

from labkit.docker import daemon as daemons
from labkit.machine import outside

MISSING = daemons.missing() if os.geteuid() == 0 else "it is root's"
pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(MISSING != "", reason=f"needs a real Docker: {MISSING}"),
]
USE = """
import sys
from labkit.docker import daemon
docker = daemon.start()
docker.docker("network", "create", "red")
web = docker.docker("run", "--detach", "--network", "red", "--publish", "8080:80", daemon.IMAGE, "sleep", sys.argv[1])
print(web, flush=True)
sys.stdin.read()
"""
PLACES = ("/etc/docker", "/opt/containerd", "/var/lib/docker", "/var/lib/containerd", "/run/docker", "/run/docker.sock")


def seen() -> dict[str, object]:
    """Return what a daemon could leave on the computer: mounts, files, and all of its network."""
    with open("/proc/self/mountinfo") as mounts:
        mounted = sorted(line for line in mounts if "docker" in line or "overlay" in line or "/netns/" in line)
    return {
        "mounts": mounted,
        "files": {place: os.path.lexists(place) and os.stat(place).st_mtime_ns for place in PLACES},
        "network": outside.read("LABKIT_TEST=nobody"),
    }


def groups_of(container: str) -> list[str]:
    return [path for path in glob.glob("/sys/fs/cgroup/**/", recursive=True) if container in path]


@contextmanager
def using(watch: Watch, seconds: str) -> Iterator[tuple[subprocess.Popen[str], str]]:  # noqa: F811
    """Yields `labkit run` and the Id of a container that sleeps for so many seconds."""
    process = subprocess.Popen(
        [*LABKIT, "run", "--", sys.executable, "-c", USE, seconds],
        env=watch.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        container = process.stdout.readline().strip()
        assert len(container) == 64
        yield process, container
    finally:
        process.kill()
        process.communicate()


def sleepers(seconds: str) -> list[str]:
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with suppress(OSError), open(path) as command:
            if command.read() == f"sleep\0{seconds}\0":
                found.append(path)
    return found


@pytest.mark.parametrize("name", ["first", "init", "dockerd", "nothing"])
def test_nothing_is_left_of_a_daemon(watch: Watch, name: str) -> None:  # noqa: F811
    before = seen()
    seconds = f"{secrets.randbelow(10**6) + 10**6}"
    with using(watch, seconds) as (process, container):
        (dockerd,) = watch.named("dockerd")
        assert len(sleepers(seconds)) == 1
        assert not groups_of(container)
        watch.remember()
        if name == "nothing":
            process.communicate("")
        else:
            victims = {"first": process.pid, "init": watch.named("labkit-init")[0], "dockerd": dockerd}
            os.kill(victims[name], signal.SIGKILL)
        if name == "dockerd":
            assert wait_until(lambda: not os.path.exists(f"/proc/{dockerd}"))
            process.communicate("")
        assert wait_until(lambda: not watch.left() and not sleepers(seconds), 5), watch.left() + sleepers(seconds)
    watch.forget()
    assert seen() == before
    assert not groups_of(container)


def test_a_daemon_that_runs_is_not_seen_on_the_computer(watch: Watch) -> None:  # noqa: F811
    before = seen()
    with using(watch, "1000"):
        during = seen()
    assert during == before


def test_a_daemon_started_by_a_command_outlives_it_and_ends_with_the_machine(watch: Watch) -> None:  # noqa: F811
    script = 'eval "$(labkit dockerd)"; eval "$(labkit dockerd)"; docker images --format "{{.Repository}}"'
    result = subprocess.run(
        [*LABKIT, "run", "--", "sh", "-c", script], env=watch.environment, capture_output=True, text=True
    )
    assert (result.stdout, result.stderr, result.returncode) == (f"{daemons.IMAGE}\n", "", 0)
    assert wait_until(lambda: not watch.left(), 5), watch.left()


def test_the_command_stops_it(watch: Watch) -> None:  # noqa: F811
    script = "labkit dockerd >/dev/null; labkit dockerd --stop; labkit dockerd --stop; ls /run/labkit/docker"
    result = subprocess.run(
        [*LABKIT, "run", "--", "sh", "-c", script], env=watch.environment, capture_output=True, text=True
    )
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)


def test_on_the_computer_itself_it_is_refused() -> None:
    result = subprocess.run([*LABKIT, "dockerd"], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("labkit: failed to run 'labkit dockerd': this is not a lab machine")
