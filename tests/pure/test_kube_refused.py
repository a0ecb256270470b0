"""What a cluster refuses, in which words: nothing of a text with one bad document gets as far as the cluster."""

from __future__ import annotations

from itertools import pairwise

import pytest

from labkit.errors import LabkitError
from labkit.kube.objects import read
from labkit.kube.processes import images

POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
  - name: echo
    image: echo
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: echo
        image: echo
"""
NODE = """\
apiVersion: v1
kind: Node
metadata:
  name: node-4
spec:
  podCIDR: 10.244.4.0/24
"""
NAMESPACE = """\
apiVersion: v1
kind: Namespace
metadata:
  name: blue
"""
SUBDOMAIN = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
LABEL = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
VALUE = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
KEY = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
IMAGES = "images here: " + "; ".join(f"{one.name} {one.about}" for one in images.IMAGES.values())
KNOWN = ", ".join(f'"{name}"' for name in sorted(images.IMAGES))
DOCS = "what the cluster models of Kubernetes: docs/kube.md"
QUOTES = 'a text that looks like a number or like yes and no is written in quotes: "80"'
LIST = 'it is a list: each of its items begins with "- ", or write [a, b]'
POD_IS = 'Pod in version "v1" cannot be handled as a Pod: '
LONG = 254 * "w"
STRICT = "strict decoding error: "


def pod(old: str, new: str) -> str:
    """The pod, with one change."""
    assert old in POD
    return POD.replace(old, new)


def deployment(old: str, new: str) -> str:
    """The Deployment, with one change."""
    assert old in DEPLOYMENT
    return DEPLOYMENT.replace(old, new)


REFUSED = {
    "an empty text": ("", "no objects passed to apply\nthe text is empty, or has nothing but comments"),
    "nothing but comments": (
        "# nothing\n---\n",
        "no objects passed to apply\nthe text is empty, or has nothing but comments",
    ),
    "a colon in a value": (
        "a: b: c",
        (
            "error parsing YAML: line 1: mapping values are not allowed in this context\n"
            "look at how far this line and the one above it are indented, and for a colon within a value"
        ),
    ),
    "a list that does not end": (
        "a: [1",
        "error parsing YAML: line 2: while parsing a flow sequence, did not find expected ',' or ']'",
    ),
    "a tab": (
        "\tkind: Pod",
        (
            "error parsing YAML: line 1: while scanning for the next token, found character that cannot start any token\n"
            "YAML is indented by spaces, not by tabs"
        ),
    ),
    "a list instead of an object": (
        "- kind: Pod",
        "error parsing YAML: line 1: it is a list, not an object\na document has apiVersion, kind, metadata and spec",
    ),
    "a text instead of an object": (
        "just words",
        "error parsing YAML: line 1: it is a text, not an object\na document has apiVersion, kind, metadata and spec",
    ),
    "a key twice in JSON": ('{"kind": "Pod", "kind": "Node"}', 'error parsing JSON: key "kind" already set in map'),
    "a key twice in YAML": (
        pod("kind: Pod", "kind: Pod\nkind: Node"),
        'error parsing YAML: line 3: key "kind" already set in map',
    ),
    "an alias of nothing": ("a: *b", "error parsing YAML: line 1: found undefined alias"),
    "a tag of Python's": (
        "a: !!python/object:os.system x",
        "error parsing YAML: line 1: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object:os.system'",
    ),
    "no apiVersion": (
        pod("apiVersion: v1\n", ""),
        "error validating data: [apiVersion not set]\nthe first lines of a document: apiVersion: v1, kind: Pod",
    ),
    "no apiVersion and no kind": (
        "metadata: {name: x}",
        (
            "error validating data: [apiVersion not set, kind not set]\n"
            "the first lines of a document: apiVersion: v1, kind: Pod"
        ),
    ),
    "a misspelled kind": (
        pod("kind: Pod", "kind: Pdo"),
        (
            'no matches for kind "Pdo" in version "v1"\n'
            "did you mean 'Pod'? the cluster has: Pod (v1), Node (v1), Namespace (v1), Deployment (apps/v1)"
        ),
    ),
    "a kind that is not modelled": (
        pod("kind: Pod", "kind: Service"),
        (
            'no matches for kind "Service" in version "v1"\n'
            "the cluster has: Pod (v1), Node (v1), Namespace (v1), Deployment (apps/v1)"
        ),
    ),
    "a version that the kind does not have": (
        deployment("apps/v1", "v1"),
        'no matches for kind "Deployment" in version "v1"\na Deployment has apiVersion: apps/v1',
    ),
    "a misspelled field": (
        pod("image:", "imagee:"),
        f'{POD_IS}{STRICT}unknown field "spec.containers[0].imagee"\ndid you mean "spec.containers[0].image"?',
    ),
    "two unknown fields": (
        pod("    image: echo", "    image: echo\n    port: 80\n    Env: []"),
        (
            f'{POD_IS}{STRICT}unknown field "spec.containers[0].port", unknown field "spec.containers[0].Env"\n'
            'did you mean "spec.containers[0].ports"?'
        ),
    ),
    "spec indented below metadata": (
        pod("spec:", "  spec:"),
        (
            f'{POD_IS}{STRICT}unknown field "metadata.spec", unknown field "metadata.containers"\n'
            'a Pod has it as "spec": look at how far the line is indented'
        ),
    ),
    "a field in the wrong case": (
        pod("  containers", "  restartpolicy: Never\n  containers"),
        f'{POD_IS}{STRICT}unknown field "spec.restartpolicy"\ndid you mean "spec.restartPolicy"?',
    ),
    "a field of another kind": (
        POD + "  replicas: 2\n",
        (
            f'{POD_IS}{STRICT}unknown field "spec.replicas"\n'
            "fields there: containers, hostNetwork, hostname, nodeName, nodeSelector, restartPolicy, securityContext"
        ),
    ),
    "a number as a name": (
        pod("name: web", "name: 7"),
        f"{POD_IS}metadata.name: got integer, expected string\n{QUOTES}",
    ),
    "a number as a variable's value": (
        pod("image: echo", "image: echo\n    env: [{name: A, value: 80}]"),
        f"{POD_IS}spec.containers[0].env[0].value: got integer, expected string\n{QUOTES}",
    ),
    "a number as a label's value": (
        pod("name: web", "name: web\n  labels: {version: 1}"),
        f"{POD_IS}metadata.labels.version: got integer, expected string\n{QUOTES}",
    ),
    "a text for true": (
        pod("  containers", '  hostNetwork: "true"\n  containers'),
        f"{POD_IS}spec.hostNetwork: got string, expected boolean",
    ),
    "a map for a list": (
        pod("  containers:\n  - name: echo\n    image: echo", "  containers: {name: echo}"),
        f"{POD_IS}spec.containers: got map, expected array\n{LIST}",
    ),
    "a number for a map": (
        pod("image: echo", "image: echo\n    ports: [80]"),
        f"{POD_IS}spec.containers[0].ports[0]: got integer, expected map",
    ),
    "a text for a number": (
        pod("image: echo", "image: echo\n    ports: [{containerPort: http}]"),
        f"{POD_IS}spec.containers[0].ports[0].containerPort: got string, expected integer",
    ),
    "a text for a list": (
        pod("image: echo", "image: echo\n    command: sleep 1"),
        f"{POD_IS}spec.containers[0].command: got string, expected array\n{LIST}",
    ),
    "a text for a map": (pod("metadata:\n  name: web", "metadata: web"), f"{POD_IS}metadata: got string, expected map"),
    "a text for replicas": (
        deployment("replicas: 2", "replicas: two"),
        'Deployment in version "v1" cannot be handled as a Deployment: spec.replicas: got string, expected integer',
    ),
    "no name": (
        pod("  name: web\n", "  labels: {app: web}\n"),
        'The Pod "" is invalid: metadata.name: Required value: name or generateName is required',
    ),
    "a name with a capital": (
        pod("name: web", "name: Web"),
        f'The Pod "Web" is invalid: metadata.name: Invalid value: "Web": {SUBDOMAIN}\nas in "web"',
    ),
    "a name with an underscore": (
        pod("name: web", "name: web_1"),
        f'The Pod "web_1" is invalid: metadata.name: Invalid value: "web_1": {SUBDOMAIN}\nas in "web-1"',
    ),
    "a namespace with a dot": (
        pod("name: web", "name: web\n  namespace: a.b"),
        'The Pod "web" is invalid: metadata.namespace: Invalid value: "a.b": must not contain dots',
    ),
    "a name that is too long": (
        pod("name: web", f"name: {LONG}"),
        (
            f'The Pod "{LONG}" is invalid: metadata.name: Invalid value: "{LONG}": must be no more than 253 bytes\n'
            f'as in "{LONG[:63]}"'
        ),
    ),
    "a Namespace with a dot": (
        NAMESPACE.replace("blue", "blue.green"),
        (
            'The Namespace "blue.green" is invalid: metadata.name: Invalid value: "blue.green": must not contain dots\n'
            'as in "blue-green"'
        ),
    ),
    "a node in a namespace": (
        NODE.replace("name: node-4", "name: node-4\n  namespace: default"),
        f'The Node "node-4" is invalid: metadata.namespace: Forbidden: not allowed on this type\n{DOCS}',
    ),
    "a label's key with a blank": (
        pod("name: web", 'name: web\n  labels: {"a b": x}'),
        f'The Pod "web" is invalid: metadata.labels: Invalid value: "a b": {KEY}',
    ),
    "a label's value with a blank": (
        pod("name: web", 'name: web\n  labels: {app: "a b"}'),
        f'The Pod "web" is invalid: metadata.labels: Invalid value: "a b": {VALUE}',
    ),
    "a label's key with two slashes": (
        pod("name: web", "name: web\n  labels: {a/b/c: x}"),
        "The Pod \"web\" is invalid: metadata.labels: Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
    ),
    "an annotation's key that begins with a hyphen": (
        pod("name: web", "name: web\n  annotations: {-a: x}"),
        f'The Pod "web" is invalid: metadata.annotations: Invalid value: "-a": {KEY}',
    ),
    "no spec": (
        pod("spec:\n  containers:\n  - name: echo\n    image: echo\n", ""),
        'The Pod "web" is invalid: spec.containers: Required value',
    ),
    "no containers": (
        pod("\n  - name: echo\n    image: echo", " []"),
        'The Pod "web" is invalid: spec.containers: Required value',
    ),
    "a container without a name": (
        pod("name: echo\n    image", "image"),
        'The Pod "web" is invalid: spec.containers[0].name: Required value',
    ),
    "a container without an image": (
        pod("    image: echo\n", ""),
        'The Pod "web" is invalid: spec.containers[0].image: Required value',
    ),
    "a container's name with a capital": (
        pod("name: echo", "name: Echo"),
        f'The Pod "web" is invalid: spec.containers[0].name: Invalid value: "Echo": {LABEL}',
    ),
    "a container's name with a dot": (
        pod("name: echo", "name: a.b"),
        'The Pod "web" is invalid: spec.containers[0].name: Invalid value: "a.b": must not contain dots',
    ),
    "two containers of one name": (
        pod("image: echo\n", "image: echo\n  - name: echo\n    image: echo\n"),
        'The Pod "web" is invalid: spec.containers[1].name: Duplicate value: "echo"',
    ),
    "an image that is not there": (
        pod("image: echo", "image: nginx:1.27"),
        (
            f'The Pod "web" is invalid: spec.containers[0].image: Unsupported value: "nginx:1.27": supported values: {KNOWN}\n'
            f"{IMAGES}"
        ),
    ),
    "an unknown restart policy": (
        pod("  containers", "  restartPolicy: Sometimes\n  containers"),
        'The Pod "web" is invalid: spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
    ),
    "a hostname with an underscore": (
        pod("  containers", "  hostname: a_b\n  containers"),
        f'The Pod "web" is invalid: spec.hostname: Invalid value: "a_b": {LABEL}',
    ),
    "a node's name with a blank": (
        pod("  containers", "  nodeName: Node 1\n  containers"),
        f'The Pod "web" is invalid: spec.nodeName: Invalid value: "Node 1": {SUBDOMAIN}',
    ),
    "a node selector that is no label": (
        pod("  containers", '  nodeSelector: {disk: "-"}\n  containers'),
        f'The Pod "web" is invalid: spec.nodeSelector: Invalid value: "-": {VALUE}',
    ),
    "variables with a bad name and without one": (
        pod("image: echo", "image: echo\n    env: [{name: A=B}, {value: x}]"),
        (
            'The Pod "web" is invalid: \n'
            "* spec.containers[0].env[1].name: Required value\n"
            "* spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='"
        ),
    ),
    "ports out of range": (
        pod("image: echo", "image: echo\n    ports: [{containerPort: 0}, {containerPort: 70000, hostPort: 99999}]"),
        (
            'The Pod "web" is invalid: \n'
            "* spec.containers[0].ports[0].containerPort: Invalid value: 0: must be between 1 and 65535, inclusive\n"
            "* spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive\n"
            "* spec.containers[0].ports[1].hostPort: Invalid value: 99999: must be between 1 and 65535, inclusive"
        ),
    ),
    "an unknown protocol": (
        pod("image: echo", "image: echo\n    ports: [{containerPort: 80, protocol: ICMP}]"),
        'The Pod "web" is invalid: spec.containers[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
    ),
    "bad port names": (
        pod(
            "image: echo",
            "image: echo\n    ports: [{containerPort: 80, name: a-very-long-port-name}, {containerPort: 81, name: '80'}]",
        ),
        (
            'The Pod "web" is invalid: \n'
            '* spec.containers[0].ports[0].name: Invalid value: "a-very-long-port-name": must be no more than 15 bytes\n'
            '* spec.containers[0].ports[1].name: Invalid value: "80": must contain at least one letter (a-z)'
        ),
    ),
    "a port name twice": (
        pod(
            "image: echo", "image: echo\n    ports: [{containerPort: 80, name: http}, {containerPort: 81, name: http}]"
        ),
        'The Pod "web" is invalid: spec.containers[0].ports[1].name: Duplicate value: "http"',
    ),
    "a port of the node twice": (
        pod(
            "image: echo",
            "image: echo\n    ports: [{containerPort: 80, hostPort: 80}, {containerPort: 81, hostPort: 80}]",
        ),
        'The Pod "web" is invalid: spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//80"',
    ),
    "a host port beside the host's network": (
        pod("  containers", "  hostNetwork: true\n  containers") + "    ports: [{containerPort: 80, hostPort: 81}]\n",
        'The Pod "web" is invalid: spec.containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true',
    ),
    "a port without a number": (
        pod("image: echo", "image: echo\n    ports: [{hostPort: 80}]"),
        'The Pod "web" is invalid: spec.containers[0].ports[0].containerPort: Required value',
    ),
    "init containers": (
        POD + "  initContainers: [{name: a, image: echo}]\n",
        (
            'The Pod "web" is invalid: spec.initContainers: Forbidden: the containers of a pod here all start at once\n'
            f"{DOCS}"
        ),
    ),
    "an affinity": (
        POD + "  affinity: {nodeAffinity: {}}\n",
        (
            'The Pod "web" is invalid: spec.affinity: Forbidden: the scheduler here looks at nodeName, nodeSelector and cordoned nodes only\n'
            f"{DOCS}"
        ),
    ),
    "a probe and a working folder": (
        pod("image: echo", "image: echo\n    livenessProbe: {tcpSocket: {port: 80}}\n    workingDir: /tmp"),
        (
            'The Pod "web" is invalid: \n'
            "* spec.containers[0].livenessProbe: Forbidden: a container here is restarted only when its process ends\n"
            "* spec.containers[0].workingDir: Forbidden: containers run in the lab machine's own files\n"
            f"{DOCS}"
        ),
    ),
    "an address of the node": (
        pod("image: echo", "image: echo\n    ports: [{containerPort: 80, hostIP: 10.0.0.1}]"),
        (
            'The Pod "web" is invalid: spec.containers[0].ports[0].hostIP: Forbidden: a hostPort here is one of all the node\'s addresses\n'
            f"{DOCS}"
        ),
    ),
    "a variable from elsewhere": (
        pod("image: echo", "image: echo\n    env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]"),
        (
            'The Pod "web" is invalid: spec.containers[0].env[0].valueFrom: Forbidden: write the value itself under value\n'
            f"{DOCS}"
        ),
    ),
    "a field that nobody models": (
        POD + "  subdomain: a\n",
        f'The Pod "web" is invalid: spec.subdomain: Forbidden: labkit does not model it\n{DOCS}',
    ),
    "a misspelled field below one that is left out": (
        POD + "  volumes: [{nam: a}]\n",
        f'{POD_IS}{STRICT}unknown field "spec.volumes[0].nam"\ndid you mean "spec.volumes[0].name"?',
    ),
    "a generated name": (
        pod("name: web", "generateName: web-"),
        (
            'The Pod "" is invalid: \n'
            "* metadata.generateName: Forbidden: give it a name: what is applied twice must be the same object\n"
            "* metadata.name: Required value: name or generateName is required\n"
            f"{DOCS}"
        ),
    ),
    "a range that is too narrow": (
        NODE.replace("10.244.4.0/24", "10.244.4.0/33"),
        'The Node "node-4" is invalid: spec.podCIDR: Invalid value: "10.244.4.0/33": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
    ),
    "a range with host bits": (
        NODE.replace("10.244.4.0/24", "10.244.4.1/24"),
        'The Node "node-4" is invalid: spec.podCIDR: Invalid value: "10.244.4.1/24": must not have bits set beyond the prefix length, as in "10.244.4.0/24"',
    ),
    "a range of IPv6": (
        NODE.replace("10.244.4.0/24", "fd00::/64"),
        'The Node "node-4" is invalid: spec.podCIDR: Invalid value: "fd00::/64": labkit\'s pod networks are IPv4, from /8 to /30',
    ),
    "a range without a length": (
        NODE.replace("10.244.4.0/24", "10.244.4.0"),
        'The Node "node-4" is invalid: spec.podCIDR: Invalid value: "10.244.4.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
    ),
    "two ranges": (
        NODE + "  podCIDRs: [10.244.4.0/24, 10.244.5.0/24]\n",
        'The Node "node-4" is invalid: spec.podCIDRs: Invalid value: ["10.244.4.0/24","10.244.5.0/24"]: a node has one range here, the same as podCIDR',
    ),
    "an empty template": (
        deployment("replicas: 2", "template:"),
        'error parsing YAML: line 9: key "template" already set in map',
    ),
    "sysctls": (
        POD + "  securityContext: {runAsUser: 1, sysctls: [{name: net.ipv4.ip_forward, value: '1'}]}\n",
        (
            'The Pod "web" is invalid: spec.securityContext.sysctls: Forbidden: write them with sysctl -w in the pod\n'
            f"{DOCS}"
        ),
    ),
    "a taint": (
        NODE + "  taints: [{key: a, effect: NoSchedule}]\n",
        (
            'The Node "node-4" is invalid: spec.taints: Forbidden: the scheduler here looks at nodeName, nodeSelector and cordoned nodes only: cordon the node instead\n'
            f"{DOCS}"
        ),
    ),
    "replicas below zero": (
        deployment("replicas: 2", "replicas: -1"),
        'The Deployment "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
    ),
    "replicas beyond an int32": (
        deployment("replicas: 2", "replicas: 3000000000"),
        'The Deployment "web" is invalid: spec.replicas: Invalid value: 3000000000: must be no more than 2147483647',
    ),
    "a selector that misses its template": (
        deployment("      labels: {app: web}", "      labels: {app: wbe}"),
        'The Deployment "web" is invalid: spec.template.metadata.labels: Invalid value: {"app":"wbe"}: `selector` does not match template `labels`',
    ),
    "an empty selector": (
        deployment("    matchLabels: {app: web}\n", "    matchLabels: {}\n"),
        'The Deployment "web" is invalid: spec.selector: Invalid value: {"matchLabels":{}}: empty selector is invalid for deployment',
    ),
    "no selector": (
        deployment("  selector:\n    matchLabels: {app: web}\n", ""),
        'The Deployment "web" is invalid: spec.selector: Required value',
    ),
    "a Deployment of pods that end": (
        deployment("    spec:\n      containers", "    spec:\n      restartPolicy: Never\n      containers"),
        'The Deployment "web" is invalid: spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
    ),
    "a selector by expressions": (
        deployment("    matchLabels: {app: web}\n", "    matchExpressions: [{key: app, operator: Exists}]\n"),
        (
            'The Deployment "web" is invalid: \n'
            "* spec.selector.matchExpressions: Forbidden: write it as matchLabels\n"
            '* spec.selector: Invalid value: {"matchExpressions":[{"key":"app","operator":"Exists"}]}: empty selector is invalid for deployment\n'
            f"{DOCS}"
        ),
    ),
    "a paused Deployment": (
        deployment("  replicas: 2", "  paused: true"),
        (
            'The Deployment "web" is invalid: spec.paused: Forbidden: a Deployment here always has the pods that it asks for\n'
            f"{DOCS}"
        ),
    ),
    "an image that is not there in a template": (
        deployment("image: echo", "image: redis"),
        (
            f'The Deployment "web" is invalid: spec.template.spec.containers[0].image: Unsupported value: "redis": supported values: {KNOWN}\n'
            f"{IMAGES}"
        ),
    ),
    "a Deployment without a spec": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n",
        'The Deployment "web" is invalid: \n* spec.selector: Required value\n* spec.template: Required value',
    ),
    "a good document and a bad one": (
        POD + "---\n" + pod("image", "imgae"),
        (
            f'{POD_IS}{STRICT}unknown field "spec.containers[0].imgae"\n'
            'did you mean "spec.containers[0].image"?\n'
            "document 2 of 2, from line 10 on; none of them was applied"
        ),
    ),
    "an incomplete pod in a List": (
        '{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod"}]}',
        (
            'The Pod "" is invalid: \n'
            "* metadata.name: Required value: name or generateName is required\n"
            "* spec.containers: Required value"
        ),
    ),
    "a List that is none": (
        '{"apiVersion": "v1", "kind": "List", "items": "x"}',
        "error parsing YAML: line 1: items of a List is not a list",
    ),
    "deep nonsense": ("a: " + "[" * 100000, "error parsing YAML: line 1: values are nested too deeply"),
    "a value that contains itself": (
        "a: &x [*x]",
        "failed to read an object: it contains itself, or is too large",
    ),
    "aliases that grow": (
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in pairwise("abcdefghi")),
        "failed to read an object: it contains itself, or is too large",
    ),
    "an empty image": (
        pod("image: echo", "image: ''"),
        'The Pod "web" is invalid: spec.containers[0].image: Required value',
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_wrong_is_said_in_kubernetes_words(fault: str) -> None:
    text, said = REFUSED[fault]
    with pytest.raises(LabkitError) as refused:
        read(text)
    assert str(refused.value) == said
