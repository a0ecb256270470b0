"""A server whose socket was made in the wrong namespace."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look, connects, does_not_connect

HOME = "127.0.0.1"
NOT_HERE = "A socket answers in the namespace where it was made."


def what_is_said(look: Look) -> dict[str, Any]:
    connection = look.connect("red", HOME, 8080, data=b"hello")
    return {"said": connection.data[:60].decode("ascii", "replace") or str(connection)}


exercise = Exercise(
    "01-network-namespaces/the-wrong-room",
    title="The wrong room",
    checks=[
        connects(
            "red",
            HOME,
            8080,
            points=2,
            look_at="ss -ltn; ip netns exec red ss -ltn",
            hints=[
                "Somebody listens. In which namespace? `ss -ltn`, asked in each, shows it.",
                "The thread enters red in run(). When, and by whom, is the socket made?",
                "labkit.enter works for a whole block: what is made in it is made there.",
            ],
        ),
        Check(
            "the-shop-is-open",
            evidence=what_is_said,
            verdict=lambda said: said == "we are open",
            passed="and it says that it is open",
            failed="whoever answers in red says: {said}",
            look_at='labkit.connect("red", "127.0.0.1", 8080, data="hello")',
            after=["red-connects-to-127.0.0.1:8080"],
            hints=["It should be the shop that answers, not just anything.", "Use the class Shop."],
        ),
        does_not_connect(
            "host",
            HOME,
            8080,
            control=connects("red", HOME, 8080),
            hints=[NOT_HERE, "Was the first shop closed, before its name was used again?"],
        ),
        does_not_connect(
            "blue",
            HOME,
            8080,
            control=connects("red", HOME, 8080),
            hints=[NOT_HERE, "One shop, in one namespace."],
        ),
    ],
    faults=[
        Fault(
            "the address was to blame",
            replace={
                "mend": "shop.close()\n"
                'shop.listener = socket.create_server(("0.0.0.0", 8080))\n'
                "threading.Thread(target=shop.run, daemon=True).start()"
            },
            red=["red-connects-to-127.0.0.1:8080"],
        ),
        Fault(
            "the old one was never closed",
            replace={"mend": 'old = shop\nwith labkit.enter("red"):\n    shop = Shop(8080)'},
            red=["host-does-not-connect-to-127.0.0.1:8080"],
        ),
        Fault(
            "a shop in every room",
            replace={
                "mend": 'shop.close()\nwith labkit.enter("blue"):\n    second = Shop(8080)\n'
                'with labkit.enter("red"):\n    shop = Shop(8080)'
            },
            red=["blue-does-not-connect-to-127.0.0.1:8080"],
        ),
        Fault(
            "something answers, but it is no shop",
            replace={"mend": 'shop.close()\nother = labkit.serve("red", 8080)'},
            red=["the-shop-is-open"],
        ),
        Fault(
            "entered after the socket was made",
            replace={"mend": 'shop.close()\nshop = Shop(8080)\nwith labkit.enter("red"):\n    pass'},
            red=["red-connects-to-127.0.0.1:8080"],
        ),
    ],
)
