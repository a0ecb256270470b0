"""What do the words of a kubectl command line name: kinds, objects, selectors, files, times?"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from labkit.errors import LabkitError, NotFound, WrongUse, cause
from labkit.kube import wire
from labkit.kube.objects.kinds import KINDS, Kind, kind

__all__ = ["Adder", "Object", "complain", "fetch", "matches", "named", "one_pod", "seconds", "texts", "verb"]

Object = dict[str, Any]
_NO_CLUSTER = (
    "The connection to the server was refused - no cluster runs in this lab machine. Start one: labkit cluster up"
)
_OWN = ("error parsing", "error validating", "no objects passed", "no matches for kind", "the server doesn't have")
Adder = Any  # argparse has no public name for what add_subparsers returns


def verb(
    verbs: Adder, name: str, act: Callable[[argparse.Namespace], int | None], about: str
) -> argparse.ArgumentParser:
    """Return the parser of a new verb, which `act` does. It understands -n, as they all do."""
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about)
    parser.add_argument("-n", "--namespace", metavar="NS", default=argparse.SUPPRESS, help="the Namespace")
    parser.set_defaults(act=act)
    return parser


def named(words: list[str]) -> list[tuple[Kind, str]]:
    """Return which objects are named: `pod web db`, `pod/web node/node-1`, or all of a kind, with no name: `pods`.

    Raises NotFound for a kind that there is none of, WrongUse."""
    if not words:
        raise WrongUse("You must specify the type of resource to get", f"resource types: {', '.join(_plurals())}")
    if "/" not in words[0]:
        kinds = [kind(word) for word in _known(words[0]).split(",")]
        if len(kinds) > 1 and words[1:]:
            raise WrongUse("a name may be given with one type of resource only")
        return [(one, name) for one in kinds for name in words[1:] or [""]]
    pairs = [word.partition("/") for word in words]
    if any(not slash or not name for _, slash, name in pairs):
        hint = "as in: pod/web pod/db, or: pod web db"
        raise WrongUse("there is no need to specify a resource type as a separate argument when passing pod/web", hint)
    return [(kind(word), name) for word, _, name in pairs]


def _known(words: str) -> str:
    return "deployments,pods" if words == "all" else words


def _plurals() -> list[str]:
    return [one.plural for one in KINDS.values()]


def one_pod(word: str, namespace: str) -> Object:
    """Return the pod that `web`, `pod/web` or `deployment/web` names: of a Deployment's pods the first, and says which.

    Raises NotFound, WrongUse for another kind."""
    what, slash, name = word.rpartition("/")
    one = kind(what) if slash else KINDS["Pod"]
    if one.name == "Pod":
        return fetch(one, name, namespace)[0]
    if one.name != "Deployment":
        raise WrongUse(f"{word} is neither a pod nor a Deployment", "labkit kubectl get pods shows their names")
    fetch(one, name, namespace)
    pods = [pod for pod in fetch(KINDS["Pod"], "", namespace) if name == _owner(pod)]
    if not pods:
        raise NotFound(f'no pods of deployment "{name}" yet', "labkit kubectl get pods")
    if len(pods) > 1:
        print(f"Found {len(pods)} pods, using pod/{pods[0]['metadata']['name']}", file=sys.stderr)
    return pods[0]


def _owner(pod: Object) -> str:
    return next((str(said["name"]) for said in pod["metadata"].get("ownerReferences", [])), "")


def fetch(one: Kind, name: str, namespace: str | None, selector: str = "") -> list[Object]:
    """Return objects of a kind from the cluster, by name. Raises what the cluster refuses with."""
    fits = matches(selector)
    space = namespace if one.namespaced else ""
    found: list[Object] = wire.ask("get", kind=one.name, name=name, namespace=space)
    return [each for each in found if fits(each["metadata"].get("labels", {}))]


_TERM = re.compile(r"(!?)([A-Za-z0-9][-A-Za-z0-9_./]*)\s*(?:(==?|!=)\s*([-A-Za-z0-9_.]*))?")


def matches(selector: str) -> Callable[[dict[str, str]], bool]:
    """Return whether labels fit `app=web,tier!=front,!old,new`. Raises WrongUse for another form."""
    terms = [_TERM.fullmatch(term.strip()) for term in selector.split(",") if term.strip()]
    if None in terms or any(term and term[1] and term[3] for term in terms):
        raise WrongUse(f"unable to parse requirement: '{selector}'", "as in: app=web,tier!=front,new,!old")
    known = [(term[1], term[2], term[3], term[4]) for term in terms if term]
    return lambda labels: all(_fits(labels, *term) for term in known)


def _fits(labels: dict[str, str], absent: str, key: str, sign: str | None, value: str) -> bool:
    if sign is None:
        return (key in labels) != bool(absent)
    return (labels.get(key) == value) != (sign == "!=")


def texts(paths: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file: of a folder its .yaml, .yml and .json; "-" is standard input.

    Raises NotFound."""
    for path in paths:
        if path == "-":
            yield "STDIN", sys.stdin.read()
        elif os.path.isdir(path):
            inside = sorted(name for name in os.listdir(path) if name.endswith((".yaml", ".yml", ".json")))
            yield from texts([os.path.join(path, name) for name in inside])
        else:
            yield path, _text(path)


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        raise NotFound(f'the path "{path}" does not exist') from None
    except OSError as error:
        raise NotFound(f'failed to read "{path}": {cause(error.errno or 0)}') from error
    except UnicodeDecodeError:
        raise WrongUse(f"error parsing {path}: it is not a text") from None


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Return a duration, as a parser's type: 30s, 1m30s, 0. Below zero means a week, as in kubectl."""
    parts = re.findall(r"([0-9.]+)(ms|s|m|h)", text)
    with suppress(ValueError):
        if parts and "".join(map("".join, parts)) == text:
            return sum(float(number) * _UNITS[unit] for number, unit in parts)
        if float(text) <= 0:
            return 7 * 24 * 3600.0 if float(text) < 0 else 0.0
    raise argparse.ArgumentTypeError(f"'{text}' is not a duration: write it as 30s or 1m30s")


def complain(error: LabkitError, doing: str = "") -> None:
    """Write an error to standard error as kubectl does. `doing`: `error when creating "web.yaml"`."""
    with suppress(OSError):
        print(_said(error, doing), file=sys.stderr)


def _said(error: LabkitError, doing: str) -> str:
    if error.message.startswith("failed to reach the cluster"):
        return _NO_CLUSTER
    reason, message = getattr(error, "reason", ""), error.message
    if not reason or message.startswith(_OWN):
        said = f"error: {message}"
    elif reason == "Invalid":
        said = re.sub(r'^(?:The )?(\w+)(?:\.\w+)? "', r'The \1 "', message)
    else:
        said = f"Error from server ({reason}): {f'{doing}: ' if doing else ''}{message}"
    return f"{said}\n{error.hint}" if error.hint else said
