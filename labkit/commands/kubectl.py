"""labkit kubectl: what can be asked of the cluster in this lab machine, in kubectl's words?"""

from __future__ import annotations

import argparse

from labkit.commands import kubectl_change, kubectl_look
from labkit.commands.kubectl_words import complain
from labkit.commands.output import ensure_lab_machine
from labkit.errors import LabkitError, NotInLabMachine

__all__ = ["TAKES_COMMAND", "add_arguments", "main"]

TAKES_COMMAND = True  # what follows -- is a container's, whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit kubectl` understands."""
    parser.description = (
        "Ask the cluster of this lab machine, as kubectl asks the API server of a real one: the same words, the same "
        "answers, the same exit statuses. What kubectl has beyond them, this does not."
    )
    parser.epilog = (
        "examples: labkit kubectl apply -f web.yaml; labkit kubectl get pods -o wide; "
        "labkit kubectl exec web -- ip route; labkit kubectl delete pod web"
    )
    parser.add_argument("-n", "--namespace", metavar="NS", default="default", help="the Namespace (default: default)")
    parser.set_defaults(command=[])
    verbs = parser.add_subparsers(title="verbs", dest="verb", metavar="VERB", required=True)
    kubectl_look.add_verbs(verbs)
    kubectl_change.add_verbs(verbs)


def main(arguments: argparse.Namespace) -> int:
    """Do it; return kubectl's exit status: 0, 1 when the cluster refused, a command's own after `exec`."""
    ensure_lab_machine(f"kubectl {arguments.verb}")
    try:
        return int(arguments.act(arguments) or 0)
    except NotInLabMachine:
        raise
    except LabkitError as error:
        complain(error)
        return 1
