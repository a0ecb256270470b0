"""kubectl's verbs that look: get, describe, events, logs, api-resources. What do they print?"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from labkit.commands.kubectl_words import Adder, Object, fetch, named, one_pod, verb
from labkit.commands.output import put
from labkit.errors import WrongUse
from labkit.kube import printing, wire
from labkit.kube.objects.kinds import KINDS, Kind

__all__ = ["add_verbs", "pick"]

_BETWEEN = 0.2  # seconds between two looks of get -w


def add_verbs(verbs: Adder) -> None:
    """Add them to the parser."""
    get = verb(verbs, "get", _get, "show objects, a line each")
    get.add_argument(
        "what", nargs="+", metavar="KIND [NAME] | KIND/NAME", help="pods, nodes, deployments, namespaces, events"
    )
    get.add_argument("-o", "--output", choices=["wide", "yaml", "json", "name"], help="show more, or all")
    _everywhere(get)
    get.add_argument("-l", "--selector", default="", help="only those with these labels: app=web,tier!=front")
    get.add_argument("-w", "--watch", action="store_true", help="then show each again when it changes, until Ctrl-C")
    get.add_argument("--no-headers", action="store_true", help="without the line of headings")
    describe = verb(verbs, "describe", _describe, "say what is known of an object, and what happened to it")
    describe.add_argument("what", nargs="+", metavar="KIND [NAME] | KIND/NAME")
    events = verb(verbs, "events", _events, "show what happened, the latest last")
    _everywhere(events)
    logs = verb(verbs, "logs", _logs, "print what a container has printed")
    logs.add_argument("pod", metavar="POD | deployment/NAME")
    logs.add_argument("-c", "--container", default="", help="which of the pod's (default: the first)")
    logs.add_argument("--tail", type=int, default=-1, metavar="LINES", help="the last lines only")
    verb(verbs, "api-resources", _api_resources, "show which kinds of objects there are")


def _everywhere(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="those of all Namespaces")


def _get(arguments: argparse.Namespace) -> int:
    if arguments.what[0] in ("events", "event", "ev"):
        return _events(arguments)
    wanted = named(arguments.what)
    space = None if arguments.all_namespaces else arguments.namespace
    if space is None and any(name for _, name in wanted):
        raise WrongUse("a resource cannot be retrieved by name across all namespaces")
    groups = _together([(one, fetch(one, name, space, arguments.selector)) for one, name in wanted])
    if arguments.output in ("yaml", "json", "name"):
        put(_whole([each for _, found in groups for each in found], arguments.output, any(name for _, name in wanted)))
        return 0
    return _show(groups, arguments) if not arguments.watch else _watch(wanted, groups, arguments)


def _together(found: list[tuple[Kind, list[Object]]]) -> list[tuple[Kind, list[Object]]]:
    """The objects of one kind are one table."""
    groups: dict[str, list[Object]] = {}
    for one, objects in found:
        groups.setdefault(one.name, []).extend(objects)
    return [(KINDS[name], objects) for name, objects in groups.items()]


def _show(groups: list[tuple[Kind, list[Object]]], arguments: argparse.Namespace) -> int:
    shown = []
    for one, objects in groups:
        if objects:
            text = _table(one, objects, arguments, prefix=len(groups) > 1)
            shown.append(text.partition("\n")[2] if arguments.no_headers else text)
    if shown:
        put("\n".join(shown))
    else:
        print(_nothing(groups[0][0], arguments), file=sys.stderr)
    return 0


def _nothing(one: Kind, arguments: argparse.Namespace) -> str:
    everywhere = arguments.all_namespaces or not one.namespaced
    return printing.NOTHING if everywhere else f"{printing.NOTHING} in {arguments.namespace} namespace."


def _table(one: Kind, objects: list[Object], arguments: argparse.Namespace, prefix: bool = False) -> str:
    if prefix:
        objects = [
            {**each, "metadata": {**each["metadata"], "name": f"{one.resource}/{each['metadata']['name']}"}}
            for each in objects
        ]
    everywhere = arguments.all_namespaces and one.namespaced
    return printing.table(one.name, objects, wide=arguments.output == "wide", namespaces=everywhere)


def _whole(objects: list[Object], form: str, single: bool) -> str:
    if form == "name":
        return "".join(f"{KINDS[each['kind']].resource}/{each['metadata']['name']}\n" for each in objects)
    listed: Any = {"apiVersion": "v1", "items": objects, "kind": "List", "metadata": {"resourceVersion": ""}}
    shown = objects[0] if single and len(objects) == 1 else listed
    if form == "json":
        return json.dumps(shown, indent=4, sort_keys=True, ensure_ascii=False) + "\n"
    import yaml

    text: str = yaml.safe_dump(shown, sort_keys=True, allow_unicode=True, default_flow_style=False)
    return text


def _watch(
    wanted: list[tuple[Kind, str]], groups: list[tuple[Kind, list[Object]]], arguments: argparse.Namespace
) -> int:
    """Show a line for each change, below the headings of the first table."""
    if len(groups) > 1:
        raise WrongUse("you may only specify a single resource type")
    kind, before = groups[0]
    heads: list[Object] = list(before)
    known = {_key(each): each for each in before}
    if before:
        _show(groups, arguments)
    while True:
        time.sleep(_BETWEEN)
        space = None if arguments.all_namespaces else arguments.namespace
        there = {_key(each): each for each in _there(kind, wanted, space, arguments.selector)}
        gone = [_ended(each) for key, each in known.items() if key not in there]
        changed = [each for key, each in there.items() if _version(each) != _version(known.get(key))]
        for each in [*gone, *changed]:
            table = _table(kind, [*heads, each], arguments).splitlines(keepends=True)
            put(table[-1] if heads else "".join(table))
            heads.append(each)
        known = there


def _ended(one: Object) -> Object:
    """An object as it was last: its deletion had begun, also where that was between two looks."""
    return {**one, "metadata": {"deletionTimestamp": "now", **one["metadata"]}}


def _there(kind: Kind, wanted: list[tuple[Kind, str]], space: str | None, selector: str) -> list[Object]:
    names = {name for _, name in wanted if name}
    return [each for each in fetch(kind, "", space, selector) if not names or each["metadata"]["name"] in names]


def _key(one: Object) -> tuple[str, str, str]:
    data = one["metadata"]
    return data.get("namespace", ""), data["name"], data.get("uid", "")


def _version(one: Object | None) -> str:
    return str(one["metadata"].get("resourceVersion")) if one else ""


def _describe(arguments: argparse.Namespace) -> int:
    from labkit.kube.describing import describe

    happened = wire.ask("events")
    found = [each for one, name in named(arguments.what) for each in fetch(one, name, arguments.namespace)]
    if not found:
        print(f"{printing.NOTHING} in {arguments.namespace} namespace.", file=sys.stderr)
        return 0
    put("\n\n".join(describe(each, happened) for each in found))
    return 0


def _events(arguments: argparse.Namespace) -> int:
    spaces = None if arguments.all_namespaces else ("", arguments.namespace)
    happened = [each for each in wire.ask("events") if not spaces or each["involvedObject"]["namespace"] in spaces]
    if happened:
        put(printing.events(happened))
    else:
        print(f"{printing.NOTHING} in {arguments.namespace} namespace.", file=sys.stderr)
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    from labkit.kube.client import Cluster

    pod = one_pod(arguments.pod, arguments.namespace)
    name = pick(pod, arguments.container)
    text = Cluster().logs(pod["metadata"]["name"], namespace=arguments.namespace, container=name)
    lines = text.splitlines(keepends=True)
    put("".join(lines[-arguments.tail :] if arguments.tail > 0 else [] if arguments.tail == 0 else lines))
    return 0


def pick(pod: Object, name: str) -> str:
    """Return a container's name: the one that is asked for, or the first, and then say so if there are others.

    Raises NotFound."""
    names = [each["name"] for each in pod["spec"]["containers"]]
    if name in names:
        return name
    if name:
        message = f"container {name} is not valid for pod {pod['metadata']['name']}"
        raise wire.refusal("BadRequest", message, f"its containers: {', '.join(names)}")
    if len(names) > 1:
        print(f'Defaulted container "{names[0]}" out of: {", ".join(names)}', file=sys.stderr)
    return str(names[0])


def _api_resources(_: argparse.Namespace) -> int:
    head = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    kinds = sorted(KINDS.values(), key=lambda one: (one.group, one.plural))
    rows = [[one.plural, ",".join(one.short), one.api_version, str(one.namespaced).lower(), one.name] for one in kinds]
    put(printing.aligned([head, *rows]))
    return 0
