"""A fresh Debian 12 in a folder: debootstrap's smallest, with git, python3 and make, and nothing else.

Commands in it have mounts and processes of their own (its root is pivoted into, because the kernel gives no user
namespaces in a chroot), but the computer's network, which set-up needs and must not change. Where packages come from is
read from this computer's apt at run time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-ec")
ENTER = """
mount --bind "$0" "$0"
mount -t proc proc "$0/proc"
mount -t sysfs sysfs "$0/sys"
mount --rbind /dev "$0/dev"
mount -t tmpfs -o mode=1777 tmpfs "$0/tmp"
for pair in $MOUNTS; do mkdir -p "$0/${pair#*=}"; mount --bind "${pair%=*}" "$0/${pair#*=}"; done
cd "$0"
mkdir -p .old
pivot_root . .old
umount -l /.old
exec "$@"
"""
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")  # a file that stands for all authorities


def mirror(release: str) -> str:
    """Return where this computer gets the packages of `release` from, or ""."""
    command = ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines():
        name, _, uri = line.partition(" ")
        if name == release:
            return uri
    return ""


def authorities() -> str:
    """Return the file of authorities that this computer trusts, or "": pip and uv bring their own and know no other."""
    named = [os.environ.get(name, "") for name in TRUST]
    return next((path for path in [*named, "/etc/ssl/certs/ca-certificates.crt"] if os.path.isfile(path)), "")


@dataclass
class Debian:
    """A Debian in the folder `root`. `mounts`: folders of this computer that it has while it runs, at which path."""

    root: Path
    mounts: dict[Path, str] = field(default_factory=dict)

    def run(self, command: str, user: str = "root", limit: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a shell command in it, in the user's home or in /opt/labkit; stdout and stderr together."""
        become = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        if user.isdigit():
            become[-1] = "--clear-groups"
        home = "/root" if user == "root" else f"/home/{user}" if not user.isdigit() else "/tmp"
        path = f"{SBIN}:/usr/local/bin:/usr/bin:/bin" if user == "root" else "/usr/local/bin:/usr/bin:/bin"
        environment = {
            "PATH": f"{SBIN}:/usr/bin:/bin",
            "HOME": home,
            "LANG": "C.UTF-8",
            "MOUNTS": " ".join(f"{folder}={path}" for folder, path in self.mounts.items()),
            **(dict.fromkeys(TRUST, authorities()) if authorities() else {}),
        }
        return subprocess.run(
            [*APART, ENTER, str(self.root), *become, "env", f"PATH={path}", "sh", "-c", command],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit,
        )

    def write(self, path: str, script: str) -> None:
        """Put a script into it."""
        target = self.root / path.lstrip("/")
        target.write_text(script)
        target.chmod(0o755)

    def has(self, path: str) -> bool:
        """Is there such a file in it?"""
        return os.path.lexists(self.root / path.lstrip("/"))


def bootstrap(root: Path, packages: str = "git,python3,make,ca-certificates") -> Debian:
    """Make it. Takes one to two minutes."""
    include = [f"--include={packages}"] if packages else []
    command = ["debootstrap", "--variant=minbase", *include, "bookworm", str(root), mirror("bookworm")]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert result.returncode == 0, result.stdout[-2000:]
    if path := authorities():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copyfile("/etc/resolv.conf", root / "etc" / "resolv.conf")
    shutil.copyfile("/etc/hosts", root / "etc" / "hosts")
    (root / "usr" / "sbin" / "policy-rc.d").unlink(missing_ok=True)
    return Debian(root)
