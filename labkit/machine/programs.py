"""Programs that a lab machine has differently: `ip`, whose new namespaces get stated sysctls and may have an
/etc/resolv.conf of their own, a harmless `sudo`, and a `tcpdump` that stays root.

They are small shell scripts on the private /run, bound over the real programs for this machine only."""

from __future__ import annotations

import os
import shutil
import sys

from labkit.net import here, libc, namespace, sysctl

__all__ = ["BIN", "REAL", "complete_path", "find_real", "install"]

BIN = f"{here.RUN}/bin"
REAL = f"{here.RUN}/real"  # REAL/ip is the program itself
_SEARCH = "/usr/sbin:/sbin:/usr/bin:/bin"

_STATE = "".join(
    f"p=/proc/sys/{key.replace('.', '/')}; [ -e $p ] && echo {value} >$p\n" for key, value in sysctl.STATED.items()
)

_IP = f"""#!/bin/sh
# labkit: the real `ip`, except that a namespace it makes gets stated sysctls, as every namespace of a lab machine, and
# that {namespace.ETC}/NAME is to `ip netns exec NAME` what /etc/netns/NAME is, where only root writes.
real={REAL}/ip
makes=
enters=
before=
for word do
    if [ "$enters" ]; then
        [ -d "{namespace.ETC}/$word" ] && exec unshare --mount {BIN}/with-etc "$word" $real "$@"
        exec $real "$@"
    fi
    case $word in
        e|ex|exe|exec) case $before in net|netn|netns) enters=yes ;; esac ;;
        -b|-ba|-bat|-batc|-batch|--b*) makes=batch ;;
        a|ad|add) case $before in net|netn|netns) makes=${{makes:-one}} ;; esac ;;
    esac
    before=$word
done
state() {{ nsenter --net="$1" {BIN}/state-sysctls 2>/dev/null; }}
named() {{ stat -Lc '%i %n' /run/netns/* 2>/dev/null; }}
case $makes in
    '') exec $real "$@" ;;
    one) $real "$@" || exit; state "/run/netns/$before"; exit 0 ;;
esac
old=$(named)
$real "$@"
status=$?
named | grep -vxF -e "$old" | while read -r inode name; do state "$name"; done
exit $status
"""

_WITH_ETC = f"""#!/bin/sh
# labkit: in mounts of its own, the files of {namespace.ETC}/NAME lie over those of /etc; then the command.
for file in {namespace.ETC}/"$1"/*; do mount --bind "$file" "/etc/${{file##*/}}"; done
shift
exec "$@"
"""

# Else tcpdump becomes the user "tcpdump", who is nobody in a user namespace, and may not write where the learner may.
_TCPDUMP = f"""#!/bin/sh
# labkit: the real `tcpdump`, which stays root instead of becoming a user that a lab machine may not have.
exec {REAL}/tcpdump -Z root "$@"
"""

_SCRIPTS = {"ip": _IP, "tcpdump": _TCPDUMP}

_SHELL = """[ -f ~/.bashrc ] && . ~/.bashrc
[ "$LABKIT_PROMPT" ] && PS1=$LABKIT_PROMPT
"""

_SUDO = """#!/bin/sh
# labkit: in a lab machine you are root already, and sudo just starts the command.
version() { echo "sudo of labkit: in a lab machine you are root already"; exit 0; }
list() { echo "in a lab machine you are root already: sudo just starts the command"; exit 0; }
shell=
while [ $# -gt 0 ]; do
    case $1 in
        --) shift; break ;;
        --user|--group|--host|--prompt|--chdir|--chroot|--role|--type|--other-user|--close-from|--command-timeout)
            shift; [ $# -gt 0 ] && shift ;;
        --login|--shell) shell=1; shift ;;
        --version) version ;;
        --list) list ;;
        --*) shift ;;
        -*)  # letters together, as in -nu root or -uroot; one that takes a value takes the rest
            letters=${1#-}; shift
            while [ "$letters" ]; do
                rest=${letters#?}
                case $letters in
                    [ghpuCDRrTtU]) [ $# -gt 0 ] && shift ;;
                    [ghpuCDRrTtU]*) rest= ;;
                    [is]*) shell=1 ;;
                    V*) version ;;
                    l*) list ;;
                esac
                letters=$rest
            done ;;
        *=*) export "$1"; shift ;;
        *) break ;;
    esac
done
if [ "$shell" ]; then
    [ $# -gt 0 ] && exec "${SHELL:-/bin/sh}" -c "$*"
    exec "${SHELL:-/bin/sh}"
fi
[ $# -gt 0 ] && exec "$@"
exit 0
"""


def find_real() -> dict[str, int]:
    """Return descriptors of the real programs, taken before /run is hidden: a lab machine may start in another."""
    found = {}
    for name in _SCRIPTS:
        outer = f"{REAL}/{name}"
        path = outer if os.path.exists(outer) else shutil.which(name, path=_SEARCH)
        if path:
            found[name] = os.open(path, os.O_PATH | os.O_CLOEXEC)
    return found


def install(real: dict[str, int]) -> None:
    """Put the scripts in place, inside this machine's mounts only. `real`: from find_real."""
    os.makedirs(BIN, exist_ok=True)
    os.makedirs(REAL, exist_ok=True)
    _write("state-sysctls", f"#!/bin/sh\n{_STATE}exit 0\n")
    _write("shell-rc", _SHELL)
    _write("with-etc", _WITH_ETC)
    for name, descriptor in real.items():
        place = shutil.which(name, path=_SEARCH)
        if place:
            os.close(os.open(f"{REAL}/{name}", os.O_CREAT | os.O_WRONLY, 0o755))
            libc.mount(f"/proc/self/fd/{descriptor}", f"{REAL}/{name}", flags=libc.MS_BIND)
            _write(name, _SCRIPTS[name], over=os.path.realpath(place))
        os.close(descriptor)
    sudo = shutil.which("sudo", path="/usr/bin:/bin")
    _write("sudo", _SUDO, over=sudo and os.path.realpath(sudo))


def complete_path() -> None:
    """Add to PATH what users of Debian lack: the folders of ip, nft, tc and brctl, and labkit's own at the end.

    The last is where `labkit` lies, so that a notebook's cell finds it, however Jupyter was started."""
    path = os.environ.get("PATH", os.defpath).split(":")
    ours = os.path.join(sys.prefix, "bin")
    path += [folder for folder in ("/usr/sbin", "/sbin", BIN, ours) if folder not in path]
    os.environ["PATH"] = ":".join(path)


def _write(name: str, text: str, over: str | None = None) -> None:
    path = f"{BIN}/{name}"
    with open(path, "w", encoding="utf-8") as script:
        script.write(text)
    os.chmod(path, 0o755)  # noqa: S103 - a program
    if over:
        libc.mount(path, over, flags=libc.MS_BIND)
