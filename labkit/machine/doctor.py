"""labkit doctor: what can this computer do, and what would mend the rest?"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.machine.probe import Answer

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit doctor` understands."""
    parser.description = (
        "Say which kinds of lab machine this computer can run, and what the kernel in each can do: yes or no, one "
        "sentence, one remedy. Everything is found by trying it in a lab machine; nothing of your computer is changed, "
        "and no kernel module is loaded. The exit status is 0 when lab machines can run."
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def main(arguments: argparse.Namespace) -> int:
    """Print the report."""
    from labkit.machine.kernel import log_path
    from labkit.machine.probe import probe

    report = probe()
    status = 0 if report.features else 1
    if arguments.json:
        print(json.dumps({**asdict(report), "log": log_path()}, indent=1))
        return status
    if report.kinds:
        print("kinds of lab machine")
    for kind in report.kinds:
        print(f"  {_word(kind):<4} {kind.name:<16} {kind.sentence}")
        if kind.remedy and not kind.works:
            print(f"  {'':<21} remedy: {kind.remedy}")
    print(f"{chr(10) if report.kinds else ''}{report.chosen}")
    if report.features:
        print(f"\nthe kernel in them\n  {''.join(f'{kind:<12}' for kind in report.features)}")
    for answers in zip(*report.features.values(), strict=True):
        sentence = next((answer.sentence for answer in answers if answer.works), answers[0].sentence)
        print(f"  {''.join(f'{_word(answer):<12}' for answer in answers)}{answers[0].name:<16} {sentence}")
        if not any(answer.works for answer in answers) or answers[0].remedy.startswith("sudo"):
            print(f"  {'':<{12 * len(answers)}}{'':<16} remedy: {answers[0].remedy}")
    print("\nother places, and what was tried there: docs/where-it-runs.md")
    print(f"errors of kernels that could not start are in {log_path()}")
    return status


def _word(answer: Answer) -> str:
    return "yes" if answer.works else "no"
