"""Versions of the CNI specification: what may each be asked, and what does its result look like?

    0.3.1   ADD, DEL, VERSION; results with a list of interfaces
    0.4.0   CHECK; DEL is told the result of ADD
    1.0.0   no version "4" or "6" beside an address any more
    1.1.0   GC, STATUS

Source: SPEC.md of each version, https://www.cni.dev/docs/spec/.
"""

from __future__ import annotations

from typing import Any

__all__ = ["SINCE", "SUPPORTED", "as_version", "at_least"]

SUPPORTED = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}  # the operations that came later


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else 0 for part in version.split("."))


def at_least(version: str, wanted: str) -> bool:
    """Return whether `version` is `wanted` or a later one: "0.4.0" is later than "0.3.1"."""
    return _numbers(version) >= _numbers(wanted)


def as_version(result: dict[str, Any], version: str) -> dict[str, Any]:
    """Return an ADD's result as `version` has it: before 1.0.0 an address says that it is "4" or "6"."""
    ips = [{key: value for key, value in ip.items() if key != "version"} for ip in result.get("ips", [])]
    if not at_least(version, "1.0.0"):
        ips = [{"version": "6" if ":" in ip.get("address", "") else "4", **ip} for ip in ips]
    return {**result, "cniVersion": version, **({"ips": ips} if "ips" in result else {})}
