"""A namespace that lives, and that no list shows."""

from labkit.check import Check, Exercise, Fault, has_link

canary = has_link(
    "host",
    "canary",
    kind="veth",
    hints=[
        "Was it made? If so, it went with its other end, when nobody held the namespace any more.",
        "What you take away last is the name. What holds vault at that moment?",
        "A process inside holds it; so does an open file. Both must live as long as this notebook.",
    ],
)

exercise = Exercise(
    "01-network-namespaces/without-a-name",
    title="Without a name",
    checks=[
        canary,
        Check(
            "other-end-elsewhere",
            evidence=lambda look: {"elsewhere": look.link("host", "canary").link_netnsid is not None},
            verdict=lambda elsewhere: elsewhere,
            passed="its other end is in another namespace",
            failed="both ends of the canary's cable are in host",
            look_at="ip -d link show canary: link-netnsid tells that the peer is elsewhere",
            after=["host-canary"],
            points=2,
            hints=[
                "Without `netns NAME` behind it, the peer is made here.",
                "`ip link` in host should list one end only.",
            ],
        ),
        Check(
            "no-name",
            evidence=lambda look: {"names": ", ".join(look.namespaces()) or "none"},
            verdict=lambda names: names == "none",
            passed="no list shows it",
            failed="there are still names: {names}",
            look_at="ip netns; ls /run/netns",
            after=["other-end-elsewhere"],
            control=canary,
            must_not=True,
            points=2,
            hints=["A second name is a name too.", "`ip netns delete` takes a name away, and only the name."],
        ),
    ],
    faults=[
        Fault("nobody holds it", replace={"hold": ""}, red=["host-canary"]),
        Fault(
            "the process was started in host",
            replace={"hold": 'holder = subprocess.Popen(["sleep", "infinity"])'},
            red=["host-canary"],
        ),
        Fault(
            "the file was closed too early",
            replace={"hold": 'with open("/run/netns/vault") as door:\n    pass'},
            red=["host-canary"],
        ),
        Fault("it keeps its name", replace={"unname": ""}, red=["no-name"]),
        Fault(
            "it has another name now",
            replace={"hold": "!touch /run/netns/safe\n!mount --bind /run/netns/vault /run/netns/safe"},
            red=["no-name"],
        ),
        Fault(
            "the cable never left host",
            replace={"make": "!ip netns add vault\n!ip link add canary type veth peer name eth0"},
            red=["other-end-elsewhere"],
        ),
    ],
)
