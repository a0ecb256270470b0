"""The image for Binder, run as Binder runs it: an ordinary user without any privilege, little memory, one processor.

Here the engine gives no network at all; and in two of the three places nothing but the home folder can be written.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from fresh import images
from fresh.engine import Engine, engine
from runner.groups import NBVAL

CONFINED = (
    *("--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none"),
    *("--memory=2g", "--memory-swap=2g", "--cpus=1", "--pids-limit=1000"),
)
HOME = "/home/jovyan"
PLACES = {
    "everything writable": (),
    "only the home folder writable": ("--read-only", f"--tmpfs={HOME}:rw,exec,uid=1000,gid=1000,mode=755,size=1500m"),
    "a home volume, and /tmp not executable": (
        *("--read-only", "--mount", f"type=volume,dst={HOME}"),
        *("--tmpfs", "/tmp:rw,noexec,mode=1777,size=800m"),
    ),
}
WRITABLE, READ_ONLY, NOEXEC = PLACES
LESSONS = [*itertools.product((WRITABLE, READ_ONLY), ("00", "01", "02", "03")), (NOEXEC, "00")]

pytestmark = pytest.mark.timeout(1200)


class Image(NamedTuple):
    """The image `labkit` in an engine, and a folder with nbval for it."""

    engine: Engine
    tools: Path

    def run(self, place: str, command: str, limit: float = 900) -> tuple[int, str]:
        """Run a shell command in a container; return its exit status and what it printed."""
        options = ("run", "--rm", *CONFINED, *PLACES[place], f"--volume={self.tools}:/tools:ro")
        result = self.engine.docker(*options, "labkit", "sh", "-c", command, limit=limit)
        return result.returncode, result.stdout


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    if reason := images.missing():
        pytest.skip(reason)
    with images.smallest_debian() as debian, engine() as running:
        file = images.build(debian, "binder/Dockerfile")
        tools = images.tools(debian)
        running.load(debian.root, "labkit", file.changes())
        yield Image(running, tools)


def test_namespaces_are_forbidden_there(image: Image) -> None:
    status, said = image.run(WRITABLE, "id -u; unshare -Urn true")
    assert (status, said.splitlines()) == (1, ["1000", "unshare: unshare failed: Operation not permitted"])


@pytest.mark.parametrize("place", PLACES)
def test_the_doctor_chooses_user_mode_linux(image: Image, place: str) -> None:
    status, said = image.run(place, "labkit doctor --json")
    assert status == 0, said
    report = json.loads(said)
    assert {kind["name"]: kind["works"] for kind in report["kinds"] if kind["name"] in ("namespaces", "uml")} == {
        "namespaces": False,
        "uml": True,
    }, said
    assert list(report["features"]) == ["uml"]


@pytest.mark.parametrize(("place", "chapter"), LESSONS)
def test_a_chapter_gives_its_committed_outputs(image: Image, place: str, chapter: str) -> None:
    options = [word.replace("tests/", "/opt/labkit/tests/") for word in NBVAL]
    pytest_ = f"python -m pytest -vv -q --no-header -c /opt/labkit/pyproject.toml --rootdir . {' '.join(options)}"
    command = f"mkdir work && cp /opt/labkit/notebooks/{chapter}-*.ipynb work && PYTHONPATH=/tools {pytest_} work"
    status, said = image.run(place, command)
    assert status == 0, said[-6000:]
    assert " passed" in said


SERVER = "--ip=0.0.0.0 --port=8888 --ServerApp.base_url=/user/somebody/ --ServerApp.token=secret"
ASK = """
import json, sys, urllib.request
request = urllib.request.Request("http://127.0.0.1:8888/user/somebody/" + sys.argv[1])
request.add_header("Authorization", "token secret")
with urllib.request.urlopen(request, timeout=20) as answer:
    print(answer.geturl(), answer.read().decode(), sep="\\n")
"""


@pytest.fixture(scope="module", params=["jupyter-lab", "jupyter-notebook"])
def server(image: Image, request: pytest.FixtureRequest) -> Iterator[str]:
    """A container in which the server runs, started by the words that BinderHub uses; `params`: the program."""
    started = image.engine.docker("run", "--detach", *CONFINED, "labkit", request.param, *SERVER.split())
    container = started.stdout.strip()
    assert started.returncode == 0, container
    deadline = time.monotonic() + 120
    while image.engine.docker("exec", container, "python", "-c", ASK, "api").returncode != 0:
        said = image.engine.docker("logs", container).stdout
        assert time.monotonic() < deadline, said[-3000:]
        time.sleep(0.5)
    yield container
    image.engine.docker("rm", "--force", container)


def ask(image: Image, server: str, path: str) -> str:
    result = image.engine.docker("exec", server, "python", "-c", ASK, path)
    assert result.returncode == 0, result.stdout[-2000:]
    return result.stdout


def test_binders_server_opens_the_course(image: Image, server: str) -> None:
    page = ask(image, server, "lab/tree/notebooks/00-your-lab-machine.ipynb")
    assert "<title>JupyterLab</title>" in page
    _, kernels = ask(image, server, "api/kernelspecs").split("\n", 1)
    found = json.loads(kernels)
    assert (found["default"], sorted(found["kernelspecs"])) == ("labkit", ["labkit", "labkit-uml"])
    _, chapter = ask(image, server, "api/contents/notebooks/00-your-lab-machine.ipynb").split("\n", 1)
    assert json.loads(chapter)["content"]["cells"]


EXECUTE = """
import asyncio, json, urllib.request, uuid
from tornado.websocket import websocket_connect
URL, TOKEN = "http://127.0.0.1:8888/user/somebody/api/", {"Authorization": "token secret"}
begin = {"path": "notebooks/00-your-lab-machine.ipynb", "type": "notebook", "name": "", "kernel": {"name": ""}}
request = urllib.request.Request(URL + "sessions", json.dumps(begin).encode(), TOKEN)
kernel = json.load(urllib.request.urlopen(request, timeout=60))["kernel"]["id"]

async def main():
    line = await websocket_connect(URL.replace("http", "ws") + f"kernels/{kernel}/channels?token=secret")
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": "s", "username": ""}
    code = "import platform; print(platform.release(), flush=True)\\n!ip -br link"
    await line.write_message(json.dumps({"channel": "shell", "header": header, "parent_header": {}, "metadata": {},
        "content": {"code": code, "silent": False}, "buffers": []}))
    while True:
        message = json.loads(await line.read_message())
        if message["msg_type"] == "stream":
            print(message["content"]["text"], end="")
        if message["channel"] == "shell" and message["msg_type"] == "execute_reply":
            return

asyncio.run(asyncio.wait_for(main(), 100))
"""


def test_chapter_00_runs_in_a_lab_machine_there(image: Image, server: str) -> None:
    result = image.engine.docker("exec", server, "python", "-c", EXECUTE)
    assert result.returncode == 0, result.stdout[-3000:]
    lines = result.stdout.splitlines()
    assert lines[0].startswith("6.1."), "the kernel of Debian's user-mode-linux"
    assert [line.split()[0] for line in lines[1:]] == ["lo"]
