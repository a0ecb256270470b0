"""Is this text a name, a label, a port's name, as Kubernetes has them? If not, what is wrong with it, in its words?

Each function returns what is wrong, nothing when it is right.
Source: k8s.io/apimachinery, pkg/api/validate/content and pkg/util/validation.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from labkit.kube.objects.errors import too_long

__all__ = ["Form", "env_name", "label", "label_key", "label_value", "port_name", "subdomain"]

Form = Callable[[str], list[str]]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_KEY})?"
_ENDS = "and must start and end with an alphanumeric character"


def label(text: str) -> list[str]:
    """An RFC 1123 label: at most 63 of a-z, 0-9 and '-'."""
    wrong = [too_long(63)] if len(text) > 63 else []
    if re.fullmatch(_LABEL, text):
        return wrong
    if re.fullmatch(_SUBDOMAIN, text):
        return [*wrong, "must not contain dots"]
    said = f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', {_ENDS}"
    return [*wrong, _regex(said, _LABEL, "my-name", "123-abc")]


def subdomain(text: str) -> list[str]:
    """An RFC 1123 subdomain: labels with dots between, at most 253 bytes."""
    wrong = [too_long(253)] if len(text) > 253 else []
    if re.fullmatch(_SUBDOMAIN, text):
        return wrong
    said = f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', {_ENDS}"
    return [*wrong, _regex(said, _SUBDOMAIN, "example.com")]


def label_key(text: str) -> list[str]:
    """A label's key: app, app.kubernetes.io/name."""
    prefix, slash, name = text.rpartition("/")
    said = _regex(
        f"must consist of alphanumeric characters, '-', '_' or '.', {_ENDS}", _KEY, "MyName", "my.name", "123-abc"
    )
    if "/" in prefix:
        return [f"a valid label key {said} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    wrong = [f"prefix part {one}" for one in (subdomain(prefix) if prefix else ["must be non-empty"])] if slash else []
    if not name:
        wrong.append("name part must be non-empty")
    elif len(name) > 63:
        wrong.append(f"name part {too_long(63)}")
    return wrong if re.fullmatch(_KEY, name) else [*wrong, f"name part {said}"]


def label_value(text: str) -> list[str]:
    """A label's value, which may be empty."""
    wrong = [too_long(63)] if len(text) > 63 else []
    if re.fullmatch(_VALUE, text):
        return wrong
    said = f"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', {_ENDS}"
    return [*wrong, _regex(said, _VALUE, "MyValue", "my_value", "12345")]


def port_name(text: str) -> list[str]:
    """A port's name, as IANA has them (RFC 6335)."""
    wrong = {
        too_long(15): len(text) > 15,
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)": not re.fullmatch("[-a-z0-9]+", text),
        "must contain at least one letter (a-z)": not re.search("[a-z]", text),
        "must not contain consecutive hyphens": "--" in text,
        "must not begin or end with a hyphen": text.startswith("-") or text.endswith("-"),
    }
    return [said for said, holds in wrong.items() if holds]


def env_name(text: str) -> list[str]:
    """The name of an environment variable."""
    if not text:
        return ["environment variable name must be non-empty"]
    if all(" " <= letter <= "~" and letter != "=" for letter in text):
        return []
    return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]


def _regex(said: str, regex: str, *examples: str) -> str:
    shown = " or ".join(f"'{one}', " for one in examples)
    return f"{said} (e.g. {shown}regex used for validation is '{regex}')"
