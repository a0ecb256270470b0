"""kubectl's verbs that change something, or wait for it: apply, delete, exec, scale, wait, cordon, uncordon, drain."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys

from labkit.commands.kubectl_look import pick
from labkit.commands.kubectl_words import Adder, Object, complain, fetch, named, one_pod, seconds, texts, verb
from labkit.commands.output import put
from labkit.errors import LabkitError, NotFound, WrongUse
from labkit.kube import wire
from labkit.kube.objects.kinds import KINDS, Kind

__all__ = ["add_verbs"]

_PATIENCE = 60.0  # seconds until what is deleted must be gone


def add_verbs(verbs: Adder) -> None:
    """Add them to the parser."""
    apply = verb(verbs, "apply", _apply, "make objects be as a file says: YAML or JSON")
    _files(apply, required=True)
    delete = verb(verbs, "delete", _delete, "delete objects, and wait until they are gone")
    delete.add_argument("what", nargs="*", metavar="KIND NAME... | KIND/NAME...")
    _files(delete)
    delete.add_argument("-l", "--selector", default="", help="those with these labels")
    delete.add_argument("--all", action="store_true", help="all of the kind")
    delete.add_argument("--wait", nargs="?", default=True, const=True, type=_truth, metavar="false", help="do not wait")
    delete.add_argument("--ignore-not-found", action="store_true", help="what is gone already is fine")
    run = verb(verbs, "exec", _exec, "run a command in a pod, in its network and with a container's environment")
    run.usage = "labkit kubectl exec POD [-c CONTAINER] [-i] [-t] -- COMMAND"
    run.add_argument("pod", metavar="POD | deployment/NAME")
    run.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    run.add_argument("-c", "--container", default="", help="which of the pod's (default: the first)")
    run.add_argument("-i", "--stdin", action="store_true", help="the command reads this standard input")
    run.add_argument("-t", "--tty", action="store_true", help="the command has this terminal")
    scale = verb(verbs, "scale", _scale, "say how many pods a Deployment has")
    scale.add_argument("what", nargs="+", metavar="deployment/NAME")
    scale.add_argument("--replicas", type=int, required=True, metavar="N")
    wait = verb(verbs, "wait", _wait, "wait until objects are ready, or gone")
    wait.add_argument("what", nargs="+", metavar="KIND/NAME")
    wait.add_argument("--for", dest="until", required=True, type=_until, metavar="condition=Ready | delete")
    wait.add_argument("--timeout", type=seconds, default=30.0, metavar="30s")
    wait.add_argument("--all", action="store_true", help="all of the kind")
    for name, about in (("cordon", "let a node take no new pods"), ("uncordon", "let it take pods again")):
        verb(verbs, name, _cordon, about).add_argument("nodes", metavar="NODE", nargs="+")
    drain = verb(verbs, "drain", _drain, "cordon a node and delete its pods")
    drain.add_argument("node", metavar="NODE")
    drain.add_argument("--force", action="store_true", help="also pods that no Deployment would make again")
    for name in ("--ignore-daemonsets", "--delete-emptydir-data"):  # there are none here
        drain.add_argument(name, action="store_true", help=argparse.SUPPRESS)
    drain.add_argument("--timeout", type=seconds, default=_PATIENCE, metavar="30s")


def _files(parser: argparse.ArgumentParser, required: bool = False) -> None:
    parser.add_argument(
        "-f", "--filename", action="append", required=required, default=None if required else [], metavar="FILE",
        help="a file, a folder, or - for standard input",
    )  # fmt: skip


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"'{text}' is neither true nor false")
    return text == "true"


def _until(text: str) -> str:
    """Return what the cluster is to wait for: Ready, Available, deleted."""
    known = {"delete": "deleted", "condition=ready": "Ready", "condition=available": "Available"}
    found = known.get(text.lower().removesuffix("=true"))
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is none of condition=Ready, condition=Available, delete")
    return found


def _apply(arguments: argparse.Namespace) -> int:
    status = 0
    for name, text in texts(arguments.filename):
        try:
            for one in wire.ask("apply", objects=text, namespace=arguments.namespace):
                for warning in one["warnings"]:
                    print(f"Warning: {warning}", file=sys.stderr)
                put(f"{KINDS[one['kind']].resource}/{one['name']} {one['done']}\n")
        except LabkitError as error:
            complain(error, f'error when creating "{name}"')
            status = 1
    return status


def _delete(arguments: argparse.Namespace) -> int:
    status, gone = 0, []
    for one, name, space, file in _doomed(arguments):
        try:
            wire.ask("delete", kind=one.name, name=name, namespace=space)
        except NotFound as error:
            if getattr(error, "reason", "") != "NotFound" or not arguments.ignore_not_found:
                complain(error, f'error when deleting "{file}"' if file else "")
                status = 1
            continue
        gone.append((one, name, space))
        put(f'{one.resource} "{name}" deleted\n')
    for one, name, space in gone if arguments.wait else ():
        if one.name in ("Pod", "Node"):
            _await(one, [name], space, "deleted", _PATIENCE)
    return status


def _doomed(arguments: argparse.Namespace) -> list[tuple[Kind, str, str, str]]:
    """Kind, name and Namespace of what is to be deleted, and the file that says so."""
    if arguments.filename:
        from labkit.kube.objects import read

        return [
            (
                KINDS[one.object["kind"]],
                one.object["metadata"]["name"],
                one.object["metadata"].get("namespace", ""),
                file,
            )
            for file, text in texts(arguments.filename)
            for one in read(text, arguments.namespace)
        ]
    doomed = []
    for one, name in named(arguments.what):
        if name:
            doomed.append((one, name, arguments.namespace, ""))
        elif arguments.all or arguments.selector:
            there = fetch(one, "", arguments.namespace, arguments.selector)
            doomed += [(one, str(each["metadata"]["name"]), arguments.namespace, "") for each in there]
        else:
            raise WrongUse("resource(s) were provided, but no name was specified", "or --all, or -l SELECTOR")
    return doomed


def _await(one: Kind, names: list[str], space: str | None, until: str, timeout: float) -> list[str]:
    behind: list[str] = wire.ask("wait", kind=one.name, names=names, namespace=space, what=until, timeout=timeout)
    return behind


def _exec(arguments: argparse.Namespace) -> int:
    if not arguments.command:
        if arguments.words:
            raise WrongUse("exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead")
        raise WrongUse("you must specify at least one command for the container")
    pod = one_pod(arguments.pod, arguments.namespace)
    container = pick(pod, arguments.container)
    pid = _process(pod, container)
    if shutil.which(arguments.command[0]) is None:
        message = f'exec: "{arguments.command[0]}": executable file not found in $PATH'
        raise wire.refusal("InternalError", message, "a container here has the programs of the lab machine")
    within = ["nsenter", f"--target={pid}", "--net", "--uts", "--"]
    sys.stdout.flush()
    stdin = None if arguments.stdin or arguments.tty else subprocess.DEVNULL
    environment = os.environ | _environment(pod, container)
    done = subprocess.run([*within, *arguments.command], env=environment, stdin=stdin, check=False)
    status = done.returncode if done.returncode >= 0 else 128 - done.returncode
    if status:
        print(f"command terminated with exit code {status}", file=sys.stderr)
    return status


def _process(pod: Object, container: str) -> int:
    """Return the process of a container that runs. Raises WrongUse, as the API server does."""
    for one in pod["status"].get("containerStatuses", []):
        pid = re.fullmatch("labkit://([0-9]+)", one.get("containerID", ""))
        if one["name"] == container and pid and "running" in one["state"]:
            if not os.path.exists(f"/proc/{pid[1]}"):
                break
            return int(pid[1])
    name = pod["metadata"]["name"]
    raise wire.refusal(
        "BadRequest", f"container {container} in pod {name} is not running", f"labkit kubectl describe pod {name}"
    )


def _environment(pod: Object, container: str) -> dict[str, str]:
    """What the container's process was started with."""
    spec = pod["spec"]
    own = next(one for one in spec["containers"] if one["name"] == container)
    name = spec.get("hostname") or pod["metadata"]["name"]
    return {"HOSTNAME": name} | {each["name"]: str(each.get("value", "")) for each in own.get("env", [])}


def _scale(arguments: argparse.Namespace) -> int:
    for one, name in named(arguments.what):
        if one.name != "Deployment" or not name:
            raise WrongUse(f"cannot scale a {one.singular}", "as in: scale deployment/web --replicas=3")
        wire.ask("scale", name=name, replicas=arguments.replicas, namespace=arguments.namespace)
        put(f"{one.resource}/{name} scaled\n")
    return 0


def _wait(arguments: argparse.Namespace) -> int:
    status = 0
    for one, name in named(arguments.what):
        if not name and not arguments.all:
            raise WrongUse("resource name or --all must be given", "as in: wait pod/web --for=condition=Ready")
        if one.name == "Deployment" and arguments.until == "Ready":
            raise WrongUse("a Deployment has no condition Ready", "wait for --for=condition=Available")
        space = arguments.namespace if one.namespaced else ""
        there = [str(each["metadata"]["name"]) for each in fetch(one, "", space)]
        names = [name] if name else there
        if name and name not in there and arguments.until != "deleted":
            fetch(one, name, space)  # which says that there is none
        behind = _await(one, names, space, arguments.until, arguments.timeout) if names else []
        met = [each for each in names if each not in behind]
        put("".join(f"{one.resource}/{each} condition met\n" for each in met if each in there))
        for each in behind:
            print(f"error: timed out waiting for the condition on {one.plural}/{each}", file=sys.stderr)
            status = 1
    return status


def _cordon(arguments: argparse.Namespace) -> int:
    for node in arguments.nodes:
        put(_cordoned(node, arguments.verb == "cordon"))
    return 0


def _cordoned(node: str, on: bool) -> str:
    changed = wire.ask("cordon", name=node, on=on)
    return f"node/{node} {'' if changed else 'already '}{'' if on else 'un'}cordoned\n"


def _drain(arguments: argparse.Namespace) -> int:
    put(_cordoned(arguments.node, True))
    try:
        gone = wire.ask("drain", name=arguments.node, force=arguments.force)
    except LabkitError as error:
        print(f'error: unable to drain node "{arguments.node}", aborting command...\n', file=sys.stderr)
        print(f"There are pending nodes to be drained:\n {arguments.node}\nerror: {error.message}", file=sys.stderr)
        return 1
    put("".join(f"evicting pod {each}\n" for each in gone))
    for each in gone:
        space, _, name = each.partition("/")
        if _await(KINDS["Pod"], [name], space, "deleted", arguments.timeout):
            print(f'error: unable to drain node "{arguments.node}": {each} is still there', file=sys.stderr)
            return 1
        put(f"pod/{name} evicted\n")
    put(f"node/{arguments.node} drained\n")
    return 0
