"""Addresses that are kept for nobody: find them among those in use, and free no other."""

from collections import Counter
from typing import Any

from labkit.check import Check, Exercise, Fault, Look, answered

LIVE = {"10.244.1.10": ("web-1", "web"), "10.244.1.12": ("db-1", "db"), "10.244.1.15": ("job-3", "job")}
LEAKED = ["10.244.1.11", "10.244.1.13", "10.244.1.14"]
GONE = ("job-1", "web-1", "job-2")  # whose the leaked ones were
NEW = ("new-1", "new-2", "new-3")
FILES = "cd /run/labkit/cni/host/networks/pods; head 10.*"


def new_pods(look: Look) -> dict[str, Any]:
    """Which of the new pods reach the node."""
    return {"mute": ", ".join(name for name in NEW if not look.ping(name, "10.244.1.1").answered)}


def still_kept(look: Look) -> dict[str, Any]:
    """Which leaked addresses are still kept for whoever had them before."""
    held = {address: look.answer("held").get(address, [""])[0] for address in LEAKED}
    return {"kept": "; ".join(f"{address} for {whose}" for address, whose in held.items() if whose in GONE)}


def living(look: Look) -> dict[str, Any]:
    """What the pods that ran before have lost."""
    held, lost = look.answer("held"), []
    for address, (container, namespace) in LIVE.items():
        if held.get(address, [""])[0] != container:
            lost.append(f"{address} is not kept for {container}")
        if f"{address}/24" not in look.addresses(namespace):
            lost.append(f"{container} does not have its interface with {address}")
        elif not look.ping(namespace, "10.244.1.1").answered:
            lost.append(f"{container} does not reach the node")
    return {"lost": "; ".join(lost)}


def twice(look: Look) -> dict[str, Any]:
    """Which addresses more than one pod has."""
    names = [*(namespace for _, namespace in LIVE.values()), *NEW]
    count = Counter(address for name in names for address in look.addresses(name) if address.startswith("10."))
    return {"twice": ", ".join(sorted(address for address, times in count.items() if times > 1))}


ANSWER = '\nlabkit.answer("leaked", leaked)'
RIGHT = f"leaked = {LEAKED}\n"


def did(mending: str, leaked: str = RIGHT) -> dict[str, str]:
    """The cell of a learner who frees addresses in this way."""
    return {"mend": f"{leaked}{mending}{ANSWER}"}


BY_HAND = "!cd /run/labkit/cni/host/networks/pods && rm "

exercise = Exercise(
    "08-cni/full-network",
    title="A full network",
    checks=[
        answered(
            "leaked",
            LEAKED,
            look_at=f"{FILES}; which of these addresses has an interface?",
            points=2,
            hints=[
                "A file says for whom an address is kept. Does the kernel know of anybody who has it?",
                "A pod may be on a network by more than one interface.",
                "What the runtime remembers is one thing, who lives another.",
            ],
        ),
        Check(
            "three-new-pods",
            evidence=new_pods,
            verdict=lambda mute: not mute,
            passed="three more pods were wired and reach the node",
            failed="not wired, or without a way to the node: {mute}",
            look_at="what the cell prints that wires them",
            points=2,
            hints=["How many addresses has the range, and how many are kept?"],
        ),
        Check(
            "what-was-leaked-is-free",
            evidence=still_kept,
            verdict=lambda kept: not kept,
            passed="the addresses that were kept for nobody are free, or given again",
            failed="still kept for nobody: {kept}",
            look_at=FILES,
            after=["three-new-pods"],
            hints=["More room is not the same as room that is freed.", "The range stays as it is: free the addresses."],
        ),
        Check(
            "who-lives-is-undisturbed",
            evidence=living,
            verdict=lambda lost: not lost,
            passed="the three pods have their interfaces, and their addresses are kept for them",
            failed="{lost}",
            look_at=f"{FILES}; ip -n web address, and so on",
            points=2,
            after=["three-new-pods"],
            hints=[
                "DEL is of one interface of one container, and takes the cable away, too.",
                "Run the first cells again to start over.",
            ],
        ),
        Check(
            "no-address-twice",
            evidence=twice,
            verdict=lambda twice: not twice,
            passed="no two pods have the same address",
            failed="given to two pods: {twice}",
            look_at="ip -n db -4 address, and so on",
            points=2,
            after=["three-new-pods"],
            must_not=True,
            hints=["What does host-local give to the next pod, when the file of a pod that lives is gone?"],
        ),
    ],
    faults=[
        Fault("everything freed", replace=did(BY_HAND + "10.*"), red=["who-lives-is-undisturbed", "no-address-twice"]),
        Fault(
            "what the runtime does not remember",
            replace=did(BY_HAND + "10.244.1.11 10.244.1.12 10.244.1.14"),
            red=["what-was-leaked-is-free", "who-lives-is-undisturbed", "no-address-twice"],
        ),
        Fault(
            "the second interface overlooked",
            replace=did(
                'runtime.delete(pods, "job-1"), runtime.delete(pods, "job-2")', f"leaked = {[LEAKED[0], LEAKED[2]]}\n"
            ),
            red=["leaked", "three-new-pods"],
        ),
        Fault(
            "the whole container taken off",
            replace=did('for name in "job-1", "job-2", "web-1":\n    runtime.delete(pods, name)'),
            red=["what-was-leaked-is-free", "who-lives-is-undisturbed"],
        ),
        Fault(
            "a longer range in place of free addresses",
            replace=did(
                'given["ranges"][0][0]["rangeEnd"] = "10.244.1.30"\n'
                'pods = cni.parse({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]})'
            ),
            red=["what-was-leaked-is-free"],
        ),
        Fault("found, and not freed", replace=did(""), red=["three-new-pods"]),
        Fault(
            "whoever is called job",
            replace=did(
                'for name in "job-1", "job-2", "job-3":\n    runtime.delete(pods, name)',
                f"leaked = {[*LEAKED[::2], '10.244.1.15']}\n",
            ),
            red=["what-was-leaked-is-free", "leaked", "who-lives-is-undisturbed"],
        ),
    ],
)
