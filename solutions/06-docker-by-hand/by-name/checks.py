"""A name that a program expects, on a network that only it shares."""

from labkit.check import Check, Exercise, Fault, Look
from labkit.docker import lookup
from labkit.errors import LabkitError

NETWORKS = "docker.network_inspect('back'); lookup('app', 'database')"
CONNECT = 'docker.network_connect("back", "db", aliases=["database"])'
DISCONNECT = 'docker.network_disconnect("back", "db")'
APP = 'docker.network_connect("back", "app")'


def asked(container: str, name: str) -> str:
    """Return the address that a container gets for a name, or what it is told instead."""
    try:
        reply = lookup(container, name, timeout=1)
    except LabkitError as error:
        return str(error).splitlines()[0]
    return ", ".join(reply.answers) or reply.status


def addresses(look: Look, name: str) -> list[str]:
    """Return a container's addresses, but for loopback."""
    return [text.partition("/")[0] for text in look.addresses(name) if not text.startswith("127.")]


def app_to_database(look: Look) -> dict[str, object]:
    """Let app ask for database, and ping what it is told."""
    told = asked("app", "database")
    return {"told": told, "found": told in addresses(look, "db") and look.ping("app", told).answered}


def proxy_to_app(look: Look) -> dict[str, object]:
    """Let proxy ask for app."""
    told = asked("proxy", "app")
    return {"told": told, "found": told in addresses(look, "app")}


def proxy_to_database(look: Look) -> dict[str, object]:
    """Let proxy ask for both names, and ping every address of db."""
    told = [f"{name}: {asked('proxy', name)}" for name in ("database", "db")]
    found = [text for text in told if any(address in text for address in addresses(look, "db"))]
    pings = [look.ping("proxy", address) for address in addresses(look, "db")]
    return {"found": "; ".join([*found, *(str(ping) for ping in pings if ping.answered)]) or "nothing"}


exercise = Exercise(
    "06-docker-by-hand/by-name",
    title="By name",
    checks=[
        Check(
            "app-finds-database",
            evidence=app_to_database,
            verdict=lambda told, found: found,  # noqa: ARG005
            passed="app asks for database, is told db's address, and reaches it",
            failed="app asked 127.0.0.11 for database, and was told: {told}",
            look_at=NETWORKS,
            points=3,
            within=0.5,
            hints=[
                "Names are known to containers on a network in common.",
                "A container is known by its own name, and by the aliases that it was connected with.",
                "An alias is given when a container joins a network: `docker.network_connect`.",
            ],
        ),
        Check(
            "proxy-finds-app",
            evidence=proxy_to_app,
            verdict=lambda told, found: found,  # noqa: ARG005
            passed="proxy asks for app, and is told its address",
            failed="proxy asked 127.0.0.11 for app, and was told: {told}",
            look_at="docker.network_inspect('front')",
            after=["app-finds-database"],
            hints=["On which network did proxy know app?"],
        ),
        Check(
            "proxy-does-not-find-database",
            evidence=proxy_to_database,
            verdict=lambda found: found == "nothing",
            passed="proxy neither finds the database nor reaches it",
            failed="proxy found or reached it: {found}",
            look_at="docker.network_inspect('front')",
            points=2,
            after=["app-finds-database", "proxy-finds-app"],
            must_not=True,
            hints=["Which network do proxy and db have in common?"],
        ),
    ],
    faults=[
        Fault("the alias forgotten", replace={"connect": APP}, red=["app-finds-database"]),
        Fault("the alias alone", replace={"connect": f"{DISCONNECT}\n{CONNECT}"}, red=["app-finds-database"]),
        Fault(
            "db comes to front",
            replace={"connect": 'docker.network_connect("front", "db", aliases=["database"])'},
            red=["proxy-does-not-find-database"],
        ),
        Fault(
            "app moves instead of joining",
            replace={"connect": f'{DISCONNECT}\n{CONNECT}\n{APP}\ndocker.network_disconnect("front", "app")'},
            red=["proxy-finds-app"],
        ),
        Fault(
            "the alias on the wrong container",
            replace={"connect": 'docker.network_connect("back", "app", aliases=["database"])'},
            red=["app-finds-database"],
        ),
    ],
)
