"""labkit trace: where does a packet go, what decides its way, and why is it lost if it is?"""

from __future__ import annotations

import argparse
import ipaddress
import traceback
from contextlib import suppress
from typing import Any

from labkit.commands.output import ends_in_order, ensure_lab_machine, not_twice_stdout, put, refused, save, seconds
from labkit.errors import LabkitError, WrongUse
from labkit.net import namespace
from labkit.see import trace_svg, trace_text
from labkit.tracing import Trace, trace

__all__ = ["add_arguments", "main"]

ARRIVED, LOST, NOT_TRACED = 0, 1, 2
_OF_A_PING = ("size", "df", "ttl")
_KINDS = ("tcp", "udp", "http", "dns")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit trace` understands."""
    parser.description = (
        "Send one packet from NAMESPACE to DESTINATION, follow it and its answer through every interface of every "
        "namespace, and say at each what changed and what decided it: route, neighbour, FDB entry, firewall rule, "
        "conntrack entry. If it is lost: where, and why. Without further options the packet is a ping."
    )
    parser.epilog = (
        "examples: `labkit trace red 10.0.0.3`, `labkit trace red blue --tcp 80`. Exit status: 0 delivered and, where "
        "an answer is due, answered; 1 lost on the way there or back; 2 it could not be traced."
    )
    parser.add_argument(
        "namespace", metavar="NAMESPACE", help="where it sets off, a name from 'ip netns', or `host`, the first one"
    )
    parser.add_argument("destination", metavar="DESTINATION", help="an IP address, or a namespace (its first address)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--tcp", type=int, metavar="PORT", help="the first packet of a connection to this TCP port")
    kind.add_argument("--udp", type=int, metavar="PORT", help="a datagram to this UDP port; no answer is due")
    kind.add_argument("--http", type=int, metavar="PORT", help="an HTTP request to this TCP port")
    kind.add_argument("--dns", metavar="NAME", help="a query for this name, to UDP port 53")
    parser.add_argument("--size", type=int, metavar="BYTES", help="of a ping's payload (56)")
    parser.add_argument("--df", action="store_true", help="the ping may not be fragmented")
    parser.add_argument("--ttl", type=int, metavar="N", help="of the ping when it sets off, 1 to 255 (64)")
    parser.add_argument("--timeout", type=seconds, metavar="SECONDS", help="to wait for an answer (1.5)")
    parser.add_argument("--json", action="store_true", help="print delivered, answered, hops and cause as JSON")
    parser.add_argument("--svg", metavar="FILE", help="draw it into FILE instead of text; - is standard output")


def main(arguments: argparse.Namespace) -> int:
    """Trace it; return 0 when it arrived and was answered, 1 when it was lost, 2 when it could not be traced."""
    ensure_lab_machine("trace")
    not_twice_stdout(arguments.json, arguments.svg)
    found = _followed(arguments)
    if found is None:
        return NOT_TRACED
    if arguments.svg is not None:
        save(arguments.svg, trace_svg(found))
    if arguments.json:
        put(found.json() + "\n")
    elif arguments.svg is None:
        put(trace_text(found) + "\n")
    return ARRIVED if found.delivered and found.answered is not False else LOST


def _followed(arguments: argparse.Namespace) -> Trace | None:
    """Return the trace; None after a fault of labkit's own, whose status must not be that of a lost packet."""
    source, options = arguments.namespace, _options(arguments)
    _check_source(source)
    _check_destination(arguments.destination)
    try:
        with ends_in_order():
            return trace(arguments.destination, source, **options)
    except LabkitError:
        raise
    except OSError as error:
        raise refused(f"trace a packet from '{source}' to '{arguments.destination}'", error) from error
    except UnicodeError as error:
        raise WrongUse(f"failed to ask for '{arguments.dns}': it is not a DNS name ({error})") from error
    except Exception:  # noqa: BLE001 - printed, and told apart by its status
        traceback.print_exc()
        return None


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what was given, in the words of `labkit.trace`. Raises WrongUse for what only a ping has."""
    chosen = {name: value for name in _KINDS if (value := getattr(arguments, name)) is not None}
    ping = {name: getattr(arguments, name) for name in _OF_A_PING}
    ping = {name: value for name, value in ping.items() if value is not None and value is not False}
    if chosen and ping:
        raise WrongUse(
            f"failed to trace: --{next(iter(ping))} is a ping's, and --{next(iter(chosen))} was asked for",
            "leave one of them out",
        )
    waits = {} if arguments.timeout is None else {"timeout": arguments.timeout}
    return chosen | ping | waits


def _check_source(name: str) -> None:
    if "/" in name:
        raise WrongUse(
            f"failed to trace from '{name}': a packet sets off from a namespace, and its routes choose the interface",
            f"write the namespace alone: {name.partition('/')[0] or 'host'}",
        )


def _check_destination(text: str) -> None:
    there = ["host", *namespace.names()]
    with suppress(ValueError):
        ipaddress.ip_address(text)
        return
    if text not in there:
        raise WrongUse(
            f"failed to trace to '{text}': it is neither an IP address nor a namespace",
            f"namespaces there: {', '.join(there)}",
        )
