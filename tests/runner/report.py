"""What came out: passed, failed, skipped, and why each skip."""

from __future__ import annotations

import collections
import json
import os
import xml.etree.ElementTree as ElementTree


class Report:
    """The sum over all groups."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self.skipped: collections.Counter[str] = collections.Counter()

    def skip(self, what: str, reason: str) -> None:
        """Count a whole group that cannot run here."""
        self.skipped[f"{what}: {reason}"] += 1

    def command(self, what: str, status: int) -> None:
        """Count a program that says by its exit status whether all is well."""
        if status == 0:
            self.passed += 1
        else:
            self.failed.append(f"{what} (exit status {status})")

    def pytest(self, what: str, status: int, path: str) -> None:
        """Count what one pytest process wrote into `path`; one that wrote nothing, or ran no test, has failed."""
        cases = list(ElementTree.parse(path).iter("testcase")) if os.path.exists(path) else []
        failures = 0
        for case in cases:
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                failures += 1
                self.failed.append(f"{what}: {case.get('classname')}::{case.get('name')}")
            elif skipped is not None:
                self.skip(what, skipped.get("message") or "no reason given")
            else:
                self.passed += 1
        if not cases:
            self.failed.append(f"{what}: no test ran (exit status {status})")
        elif status != 0 and not failures:
            self.failed.append(f"{what}: pytest ended with status {status}")

    def witness(self, path: str) -> None:
        """Count as one test: set-up changed nothing in the computer's network, and started nothing."""
        with open(path) as file:
            changes = json.load(file)
        self.command("set-up changed the computer: " + "; ".join(changes), len(changes))

    def close(self, *, forbid_skips: bool) -> int:
        """Print the end of the run, its last line the sum; return the exit status."""
        print()
        for reason, count in sorted(self.skipped.items()):
            print(f"skipped {count}: {reason}")
        for failure in self.failed:
            print(f"FAILED {failure}")
        count = sum(self.skipped.values())
        print(f"{self.passed} passed, {len(self.failed)} failed, {count} skipped", flush=True)
        return 1 if self.failed or not self.passed or (forbid_skips and count) else 0
