"""labkit doctor: what can this computer do, and what would mend the rest?"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit doctor` understands."""
    parser.description = (
        "Say which kinds of lab machine this computer can run, and what the kernel in them can do: yes or no, one "
        "sentence, one remedy. Everything is found by trying it in a lab machine; nothing of your computer is changed, "
        "and no kernel module is loaded. The exit status is 0 when lab machines can run."
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def main(arguments: argparse.Namespace) -> int:
    """Print the report."""
    from labkit.machine.kernel import log_path
    from labkit.machine.probe import Answer, probe

    report = probe()
    if arguments.json:
        print(json.dumps({**asdict(report), "log": log_path()}, indent=1))
        return 0 if report.kinds[0].works else 1

    def show(answer: Answer) -> None:
        print(f"  {'yes' if answer.works else 'no':<4} {answer.name:<16} {answer.sentence}")
        if answer.remedy and not answer.works:
            print(f"  {'':<21} remedy: {answer.remedy}")

    print("kinds of lab machine")
    for kind in report.kinds:
        show(kind)
    if report.kinds[0].works:
        print("the kernel in them")
        for feature in report.features:
            show(feature)
    print(f"errors of kernels that could not start are in {log_path()}")
    return 0 if report.kinds[0].works else 1
