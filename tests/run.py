"""Every test, as an ordinary user and as root, and one line at the end: `N passed, N failed, N skipped`.

    python tests/run.py [--all] [--forbid-skips] [GROUP...]

Each group is a process of its own (runner/groups.py). As root, everything runs as an unused uid first, then as root
what differs there (runner/worlds.py says how); with --all, everything as root too, and a set-up in a fresh Debian.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

from runner.groups import GROUPS, Group
from runner.report import Report
from runner.worlds import PROJECT, World, worlds


def run_group(group: Group, world: World, report: Report) -> None:
    """Run `group` in `world` and count what came out."""
    title = f"{group.name} as {world.name}"
    if reason := world.missing or (group.machine and world.no_machine(group.machine)):
        report.skip(title, reason)
        return
    print(f"\n=== {title}", flush=True)
    started = time.monotonic()
    for number, words in enumerate(group.commands):
        command = [word.replace("{results}", world.results) for word in words]
        xml = os.path.join(world.results, f"{group.name}-{world.name}-{number}.xml".replace(" ", "-"))
        if "pytest" in command:
            status = world.run([*command, f"--junit-xml={xml}"], group.limit)
            report.pytest(title, status, xml)
        else:
            report.command(f"{title}: {' '.join(command[2:])}", world.run(command, group.limit))
    print(f"=== {title}: {time.monotonic() - started:.0f} s", flush=True)


def main() -> int:
    """Return 0 when all passed; with --forbid-skips, only when nothing was skipped either."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="only these: " + ", ".join(GROUPS))
    parser.add_argument("--all", action="store_true", help="everything as root too, and a fresh Debian")
    parser.add_argument("--forbid-skips", action="store_true", help="a skipped test is a failure")
    options = parser.parse_args()
    if unknown := set(options.groups) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    chosen = [group for group in GROUPS.values() if group.name in options.groups or not options.groups]
    if not options.all and not options.groups:
        chosen = [group for group in chosen if not group.only_when_all]
    os.chdir(PROJECT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests press Ctrl-C, which a background job ignores
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that groups and folders go, as with Ctrl-C
    report = Report()
    if not options.groups:
        report.witness(os.path.join(PROJECT, ".venv", "witness.json"))
    with worlds() as (user, root):
        for group in chosen:
            if not group.root_only:
                run_group(group, user, report)
        for group in chosen:
            if group.differs_as_root or group.root_only or (options.all and group.name != "lint"):
                run_group(group, root, report)
    return report.close(forbid_skips=options.forbid_skips)


sys.exit(main())
