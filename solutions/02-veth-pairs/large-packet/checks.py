"""Two ends of one cable with different MTUs: find the end that swallows, and make both alike."""

from labkit.check import Exercise, Fault, answered, does_not_reach, reaches

FULL = {"size": 1472, "df": True}  # 1500 = 1472 + 8 ICMP + 20 IPv4
TOO_LONG = {"size": 1473, "df": True}
MTUS = "ip -n red link show eth0; ip -n blue link show eth0"

exercise = Exercise(
    "02-veth-pairs/large-packet",
    title="The large packet",
    checks=[
        answered(
            "dropped_at",
            "blue/eth0",
            look_at="ip -n red -s link show eth0; ip -n blue -s link show eth0",
            hints=[
                "Capture at both ends while you ping with size=1472, df=True.",
                "`ip -s link` has a column `dropped` for RX and one for TX, at either end.",
            ],
        ),
        reaches(
            "red",
            "10.0.0.2",
            name="large-from-red",
            points=2,
            ping=FULL,
            look_at=MTUS,
            hints=["Which MTU does each end have?", "How long is the packet, and who may receive one so long?"],
        ),
        reaches(
            "blue",
            "10.0.0.1",
            name="large-from-blue",
            ping=FULL,
            look_at=MTUS,
            hints=["Here the sender itself says what is wrong.", "One cable, one MTU at both ends."],
        ),
        does_not_reach(
            "red",
            "10.0.0.2",
            name="nothing-longer-from-red",
            ping=TOO_LONG,
            look_at=MTUS,
            control=reaches("red", "10.0.0.2", ping=FULL),
            hints=["1500 bytes shall be the limit.", "Compare `mtu` in `ip -n red link show eth0`."],
        ),
        does_not_reach(
            "blue",
            "10.0.0.1",
            name="nothing-longer-from-blue",
            ping=TOO_LONG,
            look_at=MTUS,
            control=reaches("blue", "10.0.0.1", ping=FULL),
            hints=["1500 bytes shall be the limit.", "Compare `mtu` in `ip -n blue link show eth0`."],
        ),
    ],
    faults=[
        Fault(
            "the sender",
            replace={"find": 'labkit.answer("dropped_at", "red/eth0")'},
            red=["dropped-at"],
        ),
        Fault(
            "both small",
            replace={"mend": "!ip -n red link set eth0 mtu 1280"},
            red=["large-from-red", "large-from-blue"],
        ),
        Fault(
            "both huge",
            replace={"mend": "!ip -n red link set eth0 mtu 9000; ip -n blue link set eth0 mtu 9000"},
            red=["nothing-longer-from-red", "nothing-longer-from-blue"],
        ),
        Fault(
            "huge at one end",
            replace={"mend": "!ip -n blue link set eth0 mtu 9000"},
            red=["nothing-longer-from-blue"],
        ),
        Fault(
            "just not enough",
            replace={"mend": "!ip -n blue link set eth0 mtu 1472"},
            red=["large-from-red", "large-from-blue"],
        ),
    ],
)
