"""Three calls to one address, in three namespaces: who answered?"""

import random

from labkit.check import Exercise, Fault, answered, connects, does_not_connect

NAMESPACES = ("amber", "green", "violet")
ABSENT = random.Random(5).choice(NAMESPACES)  # the notebook's dice fall as these do


def answer_nobody(name: str) -> str:
    """The cell of a learner who says that nobody is home in this namespace."""
    return f'nobody = "{name}"\nlabkit.answer("nobody", nobody)'


exercise = Exercise(
    "01-network-namespaces/nobody-home",
    title="Nobody home",
    checks=[
        answered(
            "nobody",
            ABSENT,
            look_at='frames.at("amber"), and the same for the two others',
            hints=["Where is the third frame, ACK, missing?", "A call that is refused is short."],
        ),
        answered(
            "flags",
            "RST ACK",
            after=["nobody"],
            secret=["RST ACK"],
            look_at="frames.at(...) for the namespace of your first answer: its last line",
            hints=[
                "The kernel answers for a port where nobody listens.",
                "Two words, in capitals, as the capture has them.",
            ],
        ),
        answered(
            "number",
            2,
            after=["nobody"],
            look_at="len(frames.at(...)) for that namespace",
            hints=["Only the frames of that namespace count.", "The question, and the refusal."],
        ),
        answered(
            "because_of_programs",
            False,
            look_at="who listens: ip netns exec NAMESPACE ss -ltnp, in two of them",
            hints=["`ss -ltnp` shows the program and its process number.", "Compare the process numbers."],
        ),
        does_not_connect(
            ABSENT,
            "127.0.0.1",
            8080,
            name="still-nobody-home",
            after=["nobody"],
            control=connects("amber", "127.0.0.1", 8080),
            hints=["The exercise was to read; somebody has moved in since.", "Run the first cell again to start over."],
        ),
    ],
    faults=[
        Fault("the first one in the list", replace={"nobody": answer_nobody("amber")}, red=["nobody"]),
        Fault(
            "any answer taken for a refusal",
            replace={"flags": 'labkit.answer("flags", "SYN ACK"), labkit.answer("number", 2)'},
            red=["flags"],
        ),
        Fault(
            "all frames counted",
            replace={"flags": 'labkit.answer("flags", "RST ACK"), labkit.answer("number", len(frames))'},
            red=["number"],
        ),
        Fault(
            "the program decides",
            replace={"why": 'labkit.answer("because_of_programs", True)'},
            red=["because-of-programs"],
        ),
        Fault(
            "a server started where it was missing",
            replace={"nobody": answer_nobody(ABSENT) + f'\nservers.append(labkit.serve("{ABSENT}", 8080))'},
            red=["still-nobody-home"],
        ),
    ],
)
