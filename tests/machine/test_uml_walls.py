"""Root in a guest changes no file outside the course, and reaches nobody.

The attacks on files are made twice, once with the walls left out: then each of them does its harm."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.machine.uml import landlock
from machine.conftest import Guests, Watch, wait_until, with_uml

pytestmark = [
    with_uml,
    pytest.mark.skipif(landlock.version() == 0, reason="the computer's kernel has no Landlock, which is the wall"),
]
WITHOUT_WALLS = """
import sys
from labkit import cli
from labkit.machine.uml import calls, guard, landlock
guard._keep_capabilities = lambda wanted: None
landlock.restrict = lambda writable: False
calls.install = lambda: None
sys.exit(cli.main(sys.argv[1:]))
"""
# $T: the target, a folder outside the course that holds the file f; $H: the computer's / mounted once more, writable
ATTACKS = {
    "remount": "mount -o remount,rw / && mkdir /run/r && mount --bind / /run/r && echo bad > /run/r$T/f",
    "mount_the_target": "mkdir /run/t && mount -t hostfs -o $T none /run/t && echo bad > /run/t/f",
    "mount_through_a_link": "ln -s $T link && mkdir /run/l && mount -t hostfs -o $PWD/link none /run/l && rm /run/l/f",
    "overwrite": "echo bad > $H$T/f",
    "append": "echo bad >> $H$T/f",
    "truncate": "truncate -s 1 $H$T/f",
    "create": "echo bad > $H$T/new",
    "delete": "rm -f $H$T/f",
    "rename": "mv $H$T/f $H$T/g",
    "carry_off": "mv $H$T/f $H$PWD/carried",
    "hard_link": "ln $H$T/f $H$PWD/hard && echo bad > $H$PWD/hard",
    "make_a_folder": "mkdir $H$T/folder",
    "remove_a_folder": "rmdir $H$T/empty",
    "symlink": "ln -s f $H$T/symlink",
    "fifo": "mkfifo $H$T/fifo",
    "chmod": "chmod 4777 $H$T/f",
    "chmod_a_folder": "chmod 777 $H$T",
    "touch": "touch -d 2001-01-01 $H$T/f",
    "chown": "chown 7:8 $H$T/f",
    "device": "mknod $H$T/null c 1 3",
}
NEEDS_ROOT = ("chown", "device")
# The guest's kernel starts this for a process that crashed, in its first namespaces, with all of its capabilities.
HELPER = """\
#!/bin/sh
exec >"$COURSE/said" 2>&1
mkdir /run/k && mount -t hostfs -o / none /run/k && echo bad > /run/k$TARGET/f
ip -br link
ip route
ip address add 10.9.9.2/24 dev vec0 && ip route add default via 10.9.9.1
for address in 127.0.0.1 10.9.9.1; do timeout 10 "$PYTHON" -c "
import socket
socket.create_connection((\\"$address\\", $PORT), 1)
print(\\"connected\\")" 2>&1 | tail -n 1; done
echo over
"""


def folders(top: Path) -> dict[str, Any]:
    """Return all of a folder: path -> mode, owner, time of change, content."""
    found: dict[str, Any] = {}
    for path in [top, *sorted(top.iterdir())]:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[path.name] = (oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, content)
    return found


def prepare(target: Path) -> dict[str, Any]:
    (target / "empty").mkdir(parents=True)
    (target / "f").write_text("good\n")
    for path in (target / "f", target / "empty", target):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folders(target)


def attack(folder: Path, program: list[str]) -> dict[str, tuple[bool, str]]:
    """Make all attacks in one guest; return which changed something, and what was said."""
    guests = Guests(Watch(), folder)
    targets = {name: folder / "beside" / name for name in ATTACKS}
    before = {name: prepare(target) for name, target in targets.items()}
    script = "mkdir -p /run/h && mount -t hostfs -o / none /run/h && H=/run/h\n" + "".join(
        f"( T={targets[name]}; {command} ) 2>said.{name}\n" for name, command in ATTACKS.items()
    )
    command = [*program, "run", "--machine", "uml", "--", "sh", "-c", script]
    subprocess.run(command, cwd=guests.course, env=guests.environment, stdin=subprocess.DEVNULL, timeout=60)
    for target in targets.values():
        target.chmod(target.stat().st_mode | 0o700)  # so that it can be looked into, and pytest can remove it
    return {
        name: (folders(target) != before[name], (guests.course / f"said.{name}").read_text())
        for name, target in targets.items()
    }


@pytest.fixture(scope="module")
def walled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bool, str]]:
    return attack(tmp_path_factory.mktemp("walled"), [sys.executable, "-m", "labkit.cli"])


@pytest.fixture(scope="module")
def unwalled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bool, str]]:
    return attack(tmp_path_factory.mktemp("unwalled"), [sys.executable, "-c", WITHOUT_WALLS])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.as_root] * (name in NEEDS_ROOT)) for name in ATTACKS]
)
def test_root_in_a_guest_changes_nothing_outside_the_course_by(walled, unwalled, name):
    assert unwalled[name][0], f"the attack is none: {unwalled[name][1]}"
    assert not walled[name][0]
    assert any(said in walled[name][1] for said in ("Permission denied", "not permitted", "cross-device")), walled[name]


def test_no_folder_of_the_computer_takes_a_file(guests: Guests):
    places = [
        "/etc",
        "/tmp",
        "/var/tmp",
        "/dev/shm",
        "/usr/bin",
        os.path.expanduser("~"),
        os.path.dirname(guests.course),
    ]
    name = f"labkit-{guests.watch.token}"
    script = "mkdir /run/h && mount -t hostfs -o / none /run/h; " + "; ".join(
        f"echo bad > /run/h{place}/{name}" for place in places
    )
    try:
        assert guests.run(f"{script}; echo ended").stdout == "ended\n"
        assert [place for place in places if os.path.exists(f"{place}/{name}")] == []
    finally:
        for place in places:
            Path(place, name).unlink(missing_ok=True)


def test_modes_owners_and_times_are_kept_in_the_course(guests: Guests):
    script = "echo text > a; chmod 751 a; touch -d '2001-02-03 04:05:06.5Z' a; cp -p a b; mkdir d; chmod 700 d; mv a d"
    done = guests.run(f"{script}; stat -c '%a %Y' d/a b")
    assert (done.stdout, done.stderr) == ("751 981173106\n751 981173106\n", "")
    assert stat.S_IMODE((guests.course / "d").stat().st_mode) == 0o700
    moved = (guests.course / "d" / "a").stat()
    assert (stat.S_IMODE(moved.st_mode), moved.st_mtime) == (0o751, pytest.approx(981173106.5, abs=0.6))


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        yield listening


def nobody_came(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return True
    return False


def test_a_lab_machine_has_no_link_to_anywhere(guests: Guests, server: socket.socket):
    port = server.getsockname()[1]
    connect = f"import socket; print(socket.socket().connect_ex(('127.0.0.1', {port})))"
    done = guests.run(f'ls /sys/class/net; ip -br link | wc -l; ip route; {sys.executable} -c "{connect}"')
    assert done.stdout.split() == ["lo", "1", "111"]  # ECONNREFUSED
    assert nobody_came(server)
    socket.create_connection(server.getsockname(), 5).close()
    assert not nobody_came(server)


def test_the_guests_first_namespaces_reach_nothing_either(guests: Guests, server: socket.socket, tmp_path: Path):
    target = tmp_path / "beside"
    before = prepare(target)
    values = {"COURSE": guests.course, "TARGET": target, "PYTHON": sys.executable, "PORT": server.getsockname()[1]}
    helper = guests.course / "helper"
    head, rest = HELPER.split("\n", 1)
    helper.write_text(
        "\n".join(
            [
                head,
                f"PATH={os.environ['PATH']}:/usr/sbin:/sbin",
                *(f"{name}={value}" for name, value in values.items()),
                rest,
            ]
        )
    )
    helper.chmod(0o755)
    process = guests.start(
        "sh", "-c", f"echo '|{helper}' > /proc/sys/kernel/core_pattern; sh -c 'kill -SEGV $$'; read line; echo $line",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    said = guests.course / "said"
    assert wait_until(lambda: said.exists() and said.read_text().endswith("over\n"), 40), (
        said.exists() and said.read_text()
    )
    lines = said.read_text().splitlines()
    assert any(line.startswith("vec0 ") for line in lines)  # it is the first namespace, and may do everything there
    assert "connected" not in lines
    assert len([line for line in lines if "Error" in line or "timed out" in line.lower()]) == 2, lines
    assert nobody_came(server)
    assert folders(target) == before
    assert process.communicate("the line still works\n", timeout=10)[0] == "the line still works\n"


def test_forged_frames_end_the_guest_in_one_sentence(guests: Guests):
    forge = """
        from labkit.machine.uml import line
        import socket
        card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); card.bind(("vec0", line.ETHERTYPE))
        card.send(line._ETHERNET + line.pack(line.tell(1, exit=0), 77_777))
    """
    helper = guests.course / "helper"
    helper.write_text(f"#!{sys.executable}\n{textwrap.dedent(forge)}")
    helper.chmod(0o755)
    done = guests.run(f"echo '|{helper}' > /proc/sys/kernel/core_pattern; sh -c 'kill -SEGV $$'; sleep 20")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "labkit: the line to the guest broke, and the lab machine ends: frame"
    )
