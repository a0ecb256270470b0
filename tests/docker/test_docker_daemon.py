"""A real Docker daemon in this lab machine makes what was recorded of one, and what the model makes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

import pytest

from labkit.docker import daemon as daemons
from labkit.docker import engine
from labkit.docker.command_line import build
from labkit.docker.comparison import Recording, compare, differences, live, recorded, scenario
from labkit.docker.scenarios import SCENARIOS
from labkit.errors import Duplicate, Refused
from labkit.machine import capabilities
from labkit.net import here
from labkit.state import snapshot

REFERENCE = "20.10."
pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(daemons.missing() != "", reason=f"needs a real Docker: {daemons.missing()}"),
    pytest.mark.skipif(here.on_user_mode_linux(), reason="too slow in User-Mode Linux"),
]


def judge(name: str, docker: Recording, told: list[str]) -> None:
    """What is not the recorded one's is a failure of the reference version, and told of any other."""
    _, lines = differences(recorded(name).tables, docker.tables)
    found = [f"Docker {docker.docker}, {name}: {line}" for line in lines if not line.reason]
    if docker.docker.startswith(REFERENCE):
        assert found == []
    told += found


@pytest.mark.parametrize("name", SCENARIOS)
def test_docker_makes_what_was_recorded_and_what_the_model_makes(name: str, different: list[str]) -> None:
    docker = live(name)
    judge(name, docker, different)
    with build(scenario(name)):
        comparison = compare(name, docker)
    assert not comparison.kept
    assert comparison or not docker.docker.startswith(REFERENCE), comparison


def test_another_version_is_told_and_no_failure() -> None:
    tables = {place: dict(kinds) for place, kinds in recorded("publish").tables.items()}
    tables["host"]["filter"] = tables["host"]["filter"][:-1]
    told: list[str] = []
    judge("publish", Recording("28.5.2", tables), told)
    assert told == ["Docker 28.5.2, publish: - host filter: -P OUTPUT ACCEPT"]
    with pytest.raises(AssertionError):
        judge("publish", Recording("20.10.24+dfsg1", tables), told)


@pytest.fixture
def daemon() -> Iterator[daemons.Daemon]:
    engine.clear()
    daemon = daemons.start()
    yield daemon
    daemon.stop()


def groups() -> set[str]:
    """Return the control groups of the computer that an engine could have made."""
    return {path for path in glob.glob("/sys/fs/cgroup/**/*docker*", recursive=True) if os.path.isdir(path)}


def test_a_container_makes_no_control_group(daemon: daemons.Daemon) -> None:
    daemon.docker("run", "--detach", "--name", "web", daemons.IMAGE)
    container = daemon.docker("inspect", "--format", "{{.Id}}", "web")
    assert not [path for path in groups() if container in path]
    with open("/proc/self/cgroup") as ours, open(f"/proc/{daemon.pid('web')}/cgroup") as its:
        assert its.read() == ours.read()


def test_the_daemon_can_load_no_module_and_write_no_file_of_the_computer(daemon: daemons.Daemon) -> None:
    with open(f"{daemon.folder}/started") as file:
        process = f"/proc/{int(file.read())}"
    with open(f"{process}/status") as status:
        bounding = next(int(line.split()[1], 16) for line in status if line.startswith("CapBnd"))
    assert not bounding & 1 << capabilities.DROPPED["sys_module"]
    with open(f"{process}/mountinfo") as mounts:
        options = {fields[4]: fields[5].split(",") for line in mounts if (fields := line.split())}
    assert all("ro" in options[path] for path in ("/", "/proc/sys/kernel", "/proc/sys/vm"))
    if daemon.version.startswith(REFERENCE):
        assert os.path.exists(f"{daemon.folder}/key.json")  # which Docker would have in /etc/docker


def test_a_second_daemon_in_one_namespace_is_refused(daemon: daemons.Daemon) -> None:
    with pytest.raises(Duplicate) as error:
        daemons.start()
    assert str(error.value) == (
        "failed to start Docker's daemon in namespace 'host': one runs there already\n"
        f"use it: DOCKER_HOST={daemon.host}"
    )
    assert daemons.find() == daemon


def test_dockers_own_sentence_is_told(daemon: daemons.Daemon) -> None:
    with pytest.raises(Refused) as error:
        daemon.docker("run", "--detach", "--network", "nope", daemons.IMAGE)
    assert str(error.value) == (
        f"failed to run 'docker run --detach --network nope {daemons.IMAGE}' in namespace 'host': "
        "network nope not found"
    )


def test_what_dockerd_refuses_is_told_and_nothing_is_left() -> None:
    with pytest.raises(Refused, match="failed to start Docker's daemon in namespace 'host': unknown flag: --nonsense"):
        daemons.start("host", "--nonsense")
    assert daemons.find() is None
    assert not os.path.exists("/run/labkit/docker/host")


def test_a_containers_namespace_gets_its_name(daemon: daemons.Daemon) -> None:
    daemon.docker("run", "--detach", "--name", "web", daemons.IMAGE)
    daemon.attach("web")
    assert "172.17.0.2/16" in [address.text for address in snapshot("web")["web"].addresses]
    with pytest.raises(Duplicate, match="failed to name the namespace of container 'web': there is a namespace 'web'"):
        daemon.attach("web")
    os.unlink("/run/netns/web")


def test_nothing_runs_after_stop(daemon: daemons.Daemon) -> None:
    daemon.docker("run", "--detach", "--name", "web", "--publish", "8080:80", daemons.IMAGE)
    inside = [daemon.pid("web"), *(int(name) for name in os.listdir("/proc") if name.isdigit() and _of(name, daemon))]
    assert len(inside) > 3
    daemon.stop()
    assert not [pid for pid in inside if os.path.exists(f"/proc/{pid}") and pid != os.getpid()]
    assert not os.path.exists(daemon.folder)


def _of(pid: str, daemon: daemons.Daemon) -> bool:
    """Return whether a process was started with the daemon's folder in its command."""
    with open(f"/proc/{pid}/cmdline") as file:
        return daemon.folder in file.read()
