"""Which fields of Kubernetes' objects does the cluster model, which does it leave out, and which does it refuse?

One entry for each type that a modelled field leads to, by its name in Kubernetes' API. A field that Kubernetes knows
and no list has is refused: without it a learner would observe something else than on a real cluster. What is left out
gets a warning: without it nothing that this course shows would differ. An empty value (`[]`, `{}`, `false`) asks for
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FIELDS", "SET_BY_SERVER", "UNMODELLED", "Fields"]

UNMODELLED = "labkit does not model it"


@dataclass(frozen=True)
class Fields:
    """The fields of one type. `left_out` and `refused` say why; a field in none of them is refused as UNMODELLED."""

    modelled: frozenset[str] = frozenset()
    left_out: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SET_BY_SERVER = _names(
    "creationTimestamp deletionGracePeriodSeconds deletionTimestamp generation managedFields resourceVersion selfLink"
    " uid"
)
"""Of metadata: the API server sets them, and forgets what a document says, as it forgets `status`."""

_TOP = _names("apiVersion kind metadata spec status")
_IDENTITY = "there is no API server to be somebody for"
_PLACING = "the scheduler here looks at nodeName, nodeSelector and cordoned nodes only"
_PROBES = "a container here is ready when it listens"
_PULLING = "no image is downloaded"
_STREAMS = "a container's output is written to a file, and its input is empty"
_USERS = "containers run as the lab machine's user"
_VOLUMES = "there are no volumes"

FIELDS: dict[str, Fields] = {
    "Pod": Fields(_TOP),
    "Node": Fields(_TOP),
    "Namespace": Fields(_TOP),
    "Deployment": Fields(_TOP),
    "ObjectMeta": Fields(
        _names("name namespace labels annotations") | SET_BY_SERVER,
        refused={
            "finalizers": "nothing here would remove them, and the object could not be deleted",
            "generateName": "give it a name: what is applied twice must be the same object",
            "ownerReferences": "objects here are owned by their Deployment, or by nobody",
        },
    ),
    "PodSpec": Fields(
        _names("containers nodeName nodeSelector restartPolicy hostNetwork hostname securityContext"),
        left_out={
            "automountServiceAccountToken": _IDENTITY,
            "dnsPolicy": "every pod has the lab machine's /etc/resolv.conf",
            "enableServiceLinks": "no environment variables are made of Services",
            "hostIPC": "all pods share the lab machine's",
            "hostPID": "all pods share the lab machine's processes",
            "hostUsers": _USERS,
            "imagePullSecrets": _PULLING,
            "os": "all nodes run Linux",
            "overhead": "nothing here counts CPU or memory",
            "preemptionPolicy": "no pod here makes room for another",
            "priority": "no pod here makes room for another",
            "priorityClassName": "no pod here makes room for another",
            "resources": "nothing here limits CPU or memory",
            "runtimeClassName": "there is one runtime",
            "serviceAccount": _IDENTITY,
            "serviceAccountName": _IDENTITY,
            "shareProcessNamespace": "all pods share the lab machine's processes",
            "terminationGracePeriodSeconds": "a container that is asked to end gets 2 seconds",
            "tolerations": "nodes here have no taints",
            "volumes": _VOLUMES,
        },
        refused={
            "activeDeadlineSeconds": "pods here end only when they are deleted or their containers end",
            "affinity": _PLACING,
            "dnsConfig": "every pod has the lab machine's /etc/resolv.conf",
            "ephemeralContainers": "cannot be set on create",
            "hostAliases": "every pod has the lab machine's /etc/hosts",
            "initContainers": "the containers of a pod here all start at once",
            "readinessGates": _PROBES,
            "schedulerName": "there is one scheduler",
            "schedulingGates": _PLACING,
            "topologySpreadConstraints": _PLACING,
        },
    ),
    "PodSecurityContext": Fields(
        left_out=dict.fromkeys(
            sorted(
                _names(
                    "appArmorProfile fsGroup fsGroupChangePolicy runAsGroup runAsNonRoot runAsUser seLinuxChangePolicy"
                    " seLinuxOptions seccompProfile supplementalGroups supplementalGroupsPolicy windowsOptions"
                )
            ),
            _USERS,
        ),
        refused={"sysctls": "write them with sysctl -w in the pod"},
    ),
    "Container": Fields(
        _names("name image command args env ports"),
        left_out={
            "imagePullPolicy": _PULLING,
            "resizePolicy": "nothing here limits CPU or memory",
            "resources": "nothing here limits CPU or memory",
            "securityContext": _USERS,
            "stdin": _STREAMS,
            "stdinOnce": _STREAMS,
            "terminationMessagePath": "why a container ended is in its log",
            "terminationMessagePolicy": "why a container ended is in its log",
            "tty": _STREAMS,
        },
        refused={
            "envFrom": "there are no ConfigMaps or Secrets; write the variables under env",
            "livenessProbe": "a container here is restarted only when its process ends",
            "readinessProbe": _PROBES,
            "startupProbe": _PROBES,
            "volumeDevices": _VOLUMES,
            "volumeMounts": _VOLUMES,
            "workingDir": "containers run in the lab machine's own files",
        },
    ),
    "EnvVar": Fields(_names("name value"), refused={"valueFrom": "write the value itself under value"}),
    "ContainerPort": Fields(
        _names("name containerPort hostPort protocol"),
        refused={"hostIP": "a hostPort here is one of all the node's addresses"},
    ),
    "NodeSpec": Fields(
        _names("podCIDR podCIDRs unschedulable"),
        refused={
            "taints": f"{_PLACING}: cordon the node instead",
        },
    ),
    "NamespaceSpec": Fields(refused={"finalizers": "nothing here would remove them"}),
    "DeploymentSpec": Fields(
        _names("replicas selector template"),
        left_out={
            "minReadySeconds": "a pod that is ready is available at once",
            "progressDeadlineSeconds": "a Deployment here does not give up",
            "revisionHistoryLimit": "there are no ReplicaSets, and no history",
            "strategy": "pods of an older template are replaced all at once",
        },
        refused={"paused": "a Deployment here always has the pods that it asks for"},
    ),
    "LabelSelector": Fields(_names("matchLabels"), refused={"matchExpressions": "write it as matchLabels"}),
    "PodTemplateSpec": Fields(_names("metadata spec")),
}
