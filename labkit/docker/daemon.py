"""A real Docker daemon, in a lab machine of root's: what does Docker itself do?

It uses the machine's first network namespace, or another one, as its host. Its files lie on the machine's private /run,
its processes in the machine's PID namespace, and all of it goes with the machine, however that ends. Of the computer it
uses the kernel and the programs; it reads the computer's files and writes none of them. The machine lacks the
capability to load modules, so the daemon loads none.

Control groups would outlive the machine, since they belong to the whole computer. So the daemon sees them read-only,
and its containers run in those of the machine, without limits of their own: RUNTIME says so to runc.
"""

from __future__ import annotations

import io
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from dataclasses import dataclass

from labkit.errors import CommandNotInstalled, Duplicate, Refused, Unavailable
from labkit.net import here
from labkit.net import namespace as namespaces

__all__ = ["IMAGE", "Daemon", "find", "missing", "start"]

IMAGE = "labkit/busybox"
UNPACKED = os.path.join(
    sys.prefix, "docker"
)  # where set-up for tests unpacks Debian's packages without installing them
PATIENCE = {"namespaces": 60.0, "uml": 300.0}  # seconds that a daemon may take to answer, and a command of Docker's
_KEY_PATH = "deprecated-key-path"
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_RUNTIME = """#!/bin/sh
# labkit: runc, whose containers get no control groups of their own.
before=
for word do
    [ "$before" != --bundle ] || sed -i 's/"resources":{.*},"cgroupsPath":"[^"]*",//' "$word/config.json"
    before=$word
done
exec runc --rootless=true "$@"
"""
# Everything of the computer that a daemon might write is read-only to it; its own folder, $0, is on another mount.
_START = """
echo $$ >"$0/started"
mount -o remount,bind,ro /
for settings in /proc/sys/kernel /proc/sys/fs /proc/sys/vm; do
    mount --bind $settings $settings
    mount -o remount,bind,ro $settings
done
findmnt -rno TARGET -t cgroup,cgroup2 >"$0/groups" || mount -t cgroup2 none /sys/fs/cgroup
while read -r groups; do
    [ ! -d "$groups" ] || mount -o remount,bind,ro "$groups"
done <"$0/groups"
exec dockerd "$@"
"""


@dataclass(frozen=True)
class Daemon:
    """A running daemon, whose host is `namespace`. `docker` runs Docker's own command line on it."""

    namespace: str
    folder: str

    @property
    def host(self) -> str:
        """What DOCKER_HOST has to be for Docker's clients to find this daemon."""
        return f"unix://{self.folder}/socket"

    @property
    def version(self) -> str:
        """Docker's version: 20.10.24+dfsg1"""
        return self.docker("version", "--format", "{{.Server.Version}}")

    def docker(self, *words: str, timeout: float | None = None) -> str:
        """Return what `docker WORDS` prints, without the last newline. Raises Refused with Docker's own sentence."""
        environment = _environment(self.folder)
        done = subprocess.run(
            ["docker", *words],
            env=environment,
            executable=shutil.which("docker", path=environment["PATH"]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout or _patience(),
            check=False,
        )
        if done.returncode:
            raise Refused(f"failed to run 'docker {' '.join(words)}' in namespace '{self.namespace}': {_told(done)}")
        return done.stdout.rstrip("\n")

    def pid(self, container: str) -> int:
        """Return the PID of a running container's first process, whose namespaces are the container's."""
        return int(self.docker("inspect", "--format", "{{.State.Pid}}", container))

    def attach(self, container: str, name: str | None = None) -> None:
        """A running container's namespace has a name here, its own or `name`, until the container ends.

        Same as: ip netns attach NAME PID. Raises Refused, Duplicate."""
        name = name or container
        target = f"/proc/{self.pid(container)}/ns/net"
        try:
            os.symlink(target, namespaces.path(namespaces.check_name(name)))
        except FileExistsError as error:
            raise Duplicate(
                f"failed to name the namespace of container '{container}': there is a namespace '{name}'",
                f"choose another: attach('{container}', 'docker-{container}')",
                errno=error.errno or 0,
            ) from error

    def import_image(self) -> None:
        """The image IMAGE is there: a busybox with all its programs, made here, since no registry can be reached."""
        environment = _environment(self.folder)
        subprocess.run(
            ["docker", "import", "--change", 'CMD ["sleep", "infinity"]', "-", IMAGE],
            env=environment,
            executable=shutil.which("docker", path=environment["PATH"]),
            input=_image(),
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def stop(self) -> None:
        """The daemon, its containers and its files are gone; its bridges and rules stay, as Docker leaves them."""
        with suppress(Refused):
            if there := self.docker("ps", "--all", "--quiet").split():
                self.docker("rm", "--force", *there)
        _end(_pid(f"{self.folder}/started"))
        _end(_pid(f"{self.folder}/run/containerd/containerd.pid"))
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def answers(self) -> bool:
        """Whether it answers."""
        with suppress(Refused, subprocess.TimeoutExpired):
            return bool(self.version)
        return False


def missing() -> str:
    """Return why there can be no daemon in this lab machine, in half a sentence; "" where there can."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        if file.read().split() != ["0", "0", "4294967295"]:
            return "it needs more users than the one of an ordinary user's lab machine of kind namespaces"
    for program in ("dockerd", "docker"):
        if shutil.which(program, path=_path()) is None:
            return f"there is no {program} on this computer"
    if shutil.which("iptables", path=_path()) is None:
        return "there is no iptables on this computer"
    return "" if _busybox() else "there is no static busybox on this computer"


def start(namespace: str = "host", *options: str) -> Daemon:
    """A daemon runs with `namespace` as its host, and the image IMAGE is in it. `options`: dockerd's own.

    Same as: dockerd --data-root ... --exec-root ... --host unix://... OPTIONS
    Raises Unavailable, CommandNotInstalled, NotFound, Duplicate where one runs in that namespace already, Refused."""
    here.ensure_lab_machine("start Docker's daemon")
    _ensure_possible(namespace)
    daemon = Daemon(namespace, _folder(namespace))
    if find(namespace):
        raise Duplicate(
            f"failed to start Docker's daemon in namespace '{namespace}': one runs there already",
            f"use it: DOCKER_HOST={daemon.host}",
        )
    _launch(daemon, options)
    try:
        _wait(daemon)
        daemon.import_image()
    except BaseException:
        daemon.stop()
        raise
    return daemon


def find(namespace: str = "host") -> Daemon | None:
    """Return the daemon that runs with `namespace` as its host, if there is one."""
    daemon = Daemon(namespace, _folder(namespace))
    return daemon if os.path.exists(f"{daemon.folder}/socket") and daemon.answers else None


def _folder(namespace: str) -> str:
    return f"{here.RUN}/docker/{namespace}"


def _ensure_possible(namespace: str) -> None:
    why = missing()
    sentence = f"failed to start Docker's daemon in namespace '{namespace}': {why}"
    if why.startswith("there is no"):
        package = "sudo apt install iptables" if "iptables" in why else "unpack it, which installs nothing: make docker"
        raise CommandNotInstalled(sentence, package)
    if why:
        raise Unavailable(sentence, "start one as root (sudo .venv/bin/labkit run bash), or one of kind uml")


def _launch(daemon: Daemon, options: tuple[str, ...]) -> None:
    """dockerd is starting, as a child of the machine's init, so that it outlives who asked for it."""
    shutil.rmtree(daemon.folder, ignore_errors=True)
    os.makedirs(f"{daemon.folder}/temporary")
    with open(f"{daemon.folder}/runtime", "w", encoding="ascii") as file:
        file.write(_RUNTIME)
    os.chmod(file.name, 0o755)  # noqa: S103 - a program
    with open(f"{daemon.folder}/config.json", "w", encoding="ascii") as file:
        json.dump(_configuration(daemon.folder), file)
    command = ["setsid", "--fork", "unshare", "--mount", "--propagation", "private", "sh", "-ec", _START, daemon.folder]
    with open(f"{daemon.folder}/log", "wb") as log, namespaces.enter(daemon.namespace):
        subprocess.run(
            [*command, *_options(daemon), *options],
            env=_environment(daemon.folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
        )


def _configuration(folder: str) -> dict[str, str]:
    """Return what no option says: the key of Docker up to 24 lies in its own folder, not in the computer's /etc/docker.

    Others know no such key, and refuse what they do not know: so it is looked for in the program."""
    program = shutil.which("dockerd", path=_path())
    assert program
    with open(program, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as code:
        return {_KEY_PATH: f"{folder}/key.json"} if code.find(_KEY_PATH.encode()) >= 0 else {}


def _options(daemon: Daemon) -> list[str]:
    """Return dockerd's options: its own files, containers without control groups, and no module loaded for layers."""
    folder = daemon.folder
    with open("/proc/filesystems", encoding="ascii") as file:
        layers = "overlay2" if "\toverlay\n" in file.read() else "vfs"
    places = {
        "config-file": "config.json",
        "data-root": "data",
        "exec-root": "run",
        "pidfile": "pid",
    }
    return [
        *(f"--{option}={folder}/{name}" for option, name in places.items()),
        f"--host={daemon.host}",
        f"--add-runtime=labkit={folder}/runtime",
        "--default-runtime=labkit",
        f"--storage-driver={layers}",
        "--log-level=warn",
    ]


def _wait(daemon: Daemon) -> None:
    """Raises Refused when the daemon ends instead of answering."""
    deadline = time.monotonic() + _patience()
    while not daemon.answers:
        pid = _pid(f"{daemon.folder}/started")
        ended = pid and not _runs(pid)
        if ended or time.monotonic() > deadline:
            raise Refused(f"failed to start Docker's daemon in namespace '{daemon.namespace}': {_last_words(daemon)}")
        time.sleep(0.05)


def _patience() -> float:
    return PATIENCE[here.kind() or "namespaces"]


def _last_words(daemon: Daemon) -> str:
    """Return the last line of the daemon's log that is not an invitation to read its help."""
    with open(f"{daemon.folder}/log", encoding="utf-8", errors="replace") as log:
        lines = [line.strip() for line in log if line.strip() and not line.startswith("See ")]
    return lines[-1].removeprefix("Status: ") if lines else "it said nothing"


def _pid(file: str) -> int:
    """Return the PID that is written in a file, 0 where there is none."""
    with suppress(OSError, ValueError), open(file, encoding="ascii") as opened:
        return int(opened.read())
    return 0


def _end(pid: int) -> None:
    """The process has ended. What it would tidy up goes anyway."""
    with suppress(ProcessLookupError):
        while pid and _runs(pid):
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


def _runs(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def _environment(folder: str) -> dict[str, str]:
    """Return the variables of a daemon and its clients: no proxy, no setting and no other daemon of the user's, but
    labkit's own, by which its processes are known."""
    return {
        **{name: value for name, value in os.environ.items() if name.startswith("LABKIT_")},
        "PATH": _path(),
        "HOME": folder,
        "TMPDIR": f"{folder}/temporary",
        "DOCKER_HOST": f"unix://{folder}/socket",
        "DOCKER_CONFIG": f"{folder}/client",
        "DOCKER_BUILDKIT": "0",
        **({"LD_LIBRARY_PATH": f"{UNPACKED}/lib"} if _is_unpacked() else {}),
    }


def _path() -> str:
    """Return where programs are: an installed Docker first, else the one that set-up unpacked."""
    return f"{_installed_path()}:{UNPACKED}/bin" if _is_unpacked() else _installed_path()


def _installed_path() -> str:
    return ":".join(dict.fromkeys([*os.environ.get("PATH", os.defpath).split(":"), *_SBIN]))


def _is_unpacked() -> bool:
    return shutil.which("dockerd", path=_installed_path()) is None and os.path.exists(f"{UNPACKED}/bin/dockerd")


def _busybox() -> str | None:
    """Return a busybox that needs no libraries: those of the computer are not in the image."""
    for path in (f"{UNPACKED}/bin/busybox", "/bin/busybox"):
        with suppress(OSError), open(path, "rb") as file:
            if b"/ld-" not in file.read(4096):  # an interpreter is named near the beginning (elf(5), PT_INTERP)
                return path
    return None


def _image() -> bytes:
    """Return a tar archive: /bin/busybox, a link to it for each of its programs, and the folders that Docker wants."""
    busybox = _busybox()
    assert busybox
    programs = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            archive.addfile(_entry(name, tarfile.DIRTYPE))
        archive.add(busybox, "bin/busybox", filter=_as_root)
        for name in programs:
            if name != "busybox":
                archive.addfile(_entry(f"bin/{name}", tarfile.SYMTYPE, "busybox"))
    return stream.getvalue()


def _entry(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = kind, link, 0o755
    return entry


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _told(done: subprocess.CompletedProcess[str]) -> str:
    """Return Docker's own sentence: the first line, without the program that says it."""
    lines = [line for line in done.stderr.strip().splitlines() if line] or ["it said nothing"]
    return lines[0].removeprefix("docker: ").removeprefix("Error response from daemon: ").rstrip(".")
