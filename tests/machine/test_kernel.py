"""The kernel `labkit`, as JupyterLab, nbclient and VS Code use it."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from labkit.machine import find, join
from machine.conftest import LABKIT, Watch, wait_until, with_uml

SECONDS = 30


class Kernel:
    """A running kernel and a client of it."""

    def __init__(self, name: str = "labkit", **options: Any) -> None:
        self.manager = KernelManager(kernel_name=name)
        self.manager.start_kernel(**options)
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)

    def run(
        self, code: str, answer: str | None = None, on_start: Callable[[], None] | None = None
    ) -> list[dict[str, Any]]:
        """Run a cell; return the messages that it sent, content with msg_type."""
        sent: list[dict[str, Any]] = []

        def seen(message: dict[str, Any]) -> None:
            sent.append({"msg_type": message["msg_type"], **message["content"]})
            if on_start and message["msg_type"] == "stream":
                on_start()

        self.client.execute_interactive(
            code, timeout=SECONDS, output_hook=seen, allow_stdin=answer is not None,
            stdin_hook=(lambda _: self.client.input(answer)) if answer is not None else None,
        )  # fmt: skip
        return sent

    def text(self, code: str, answer: str | None = None) -> str:
        return "".join(message.get("text", "") for message in self.run(code, answer))

    def control(self, kind: str, **content: Any) -> dict[str, Any]:
        """Ask on the control channel, as a debugger or a subshell does."""
        message = self.client.session.msg(kind, content)
        self.client.control_channel.send(message)
        while True:
            reply = self.client.get_control_msg(timeout=SECONDS)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return dict(reply["content"])

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=False)


@pytest.fixture(scope="module", params=["labkit", pytest.param("labkit-uml", marks=with_uml)])
def kernel(kernels: str, request: pytest.FixtureRequest) -> Iterator[Kernel]:
    kernel = Kernel(request.param)
    yield kernel
    kernel.close()


def test_the_kernelspec_has_the_shape_that_vs_code_accepts(kernels):
    with open(f"{kernels}/share/jupyter/kernels/labkit/kernel.json", encoding="utf-8") as file:
        spec = json.load(file)
    assert spec["argv"] == [sys.executable, "-m", "labkit.machine.kernel", "-f", "{connection_file}"]
    assert spec["display_name"] == "labkit"
    assert spec["interrupt_mode"] == "signal"
    assert spec["metadata"]["debugger"] is True
    assert os.path.getsize(f"{kernels}/share/jupyter/kernels/labkit/logo-svg.svg") > 0


def test_files_beside_the_notebook_do_not_become_the_launcher(kernels, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('the learner's json.py was imported')")
    (tmp_path / "labkit").mkdir()
    (tmp_path / "labkit" / "__init__.py").write_text("raise SystemExit('the learner's labkit was imported')")
    (tmp_path / "mine.py").write_text("answer = 42")
    kernel = Kernel(cwd=str(tmp_path))
    assert kernel.text("import mine, os; print(mine.answer, os.environ.get('PYTHONSAFEPATH'))") == "42 None\n"
    kernel.close()


def test_cells_threads_and_children_live_in_the_lab_machine(kernel):
    code = """
import os, subprocess, threading
from labkit.net import here
print(here.in_lab_machine(), os.getpid() != 1, os.readlink('/proc/1/exe') != '')
links = []
thread = threading.Thread(target=lambda: links.append(open('/proc/thread-self/net/dev').read().count(':')))
thread.start(); thread.join(); print(links)
!ls /sys/class/net
!ip netns add kept; ip netns
"""
    assert kernel.text(code).split() == ["True", "True", "True", "[1]", "lo", "kept"]
    assert kernel.text("!ip netns").split() == ["kept"]


def test_a_silent_start(kernels):
    program = (
        "import sys; sys.path.insert(0, 'tests'); from machine.test_kernel import Kernel\n"
        "k = Kernel(); print(k.text('print(1)')); k.close()"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (result.stdout.strip(), result.stderr) == ("1", "")


def test_temporary_files_lie_on_the_private_run(kernel):
    assert kernel.text("import tempfile; print(tempfile.gettempdir())") == "/run/labkit/tmp\n"


def test_input_is_asked_for(kernel):
    assert kernel.text("print(input('name? ')[::-1])", answer="der") == "red\n"


def test_inline_pictures_are_shown(kernel):
    pixel = base64.b64encode(
        base64.b64decode(
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
        )
    ).decode()
    sent = kernel.run(f"import base64; from IPython.display import Image; Image(base64.b64decode('{pixel}'))")
    assert [message["data"]["image/png"].strip() for message in sent if "data" in message] == [pixel]
    assert kernel.text("import os; print(os.environ['MPLBACKEND'])") == "module://matplotlib_inline.backend_inline\n"


def test_widgets_open_their_channel(kernel):
    sent = kernel.run("import ipywidgets; s = ipywidgets.IntSlider(3); s")
    assert "comm_open" in [message["msg_type"] for message in sent]
    shown = [message["data"] for message in sent if message["msg_type"] in ("display_data", "execute_result")]
    assert "application/vnd.jupyter.widget-view+json" in shown[0]


def test_an_interrupt_ends_a_cell(kernel):
    sent = kernel.run("print('on', flush=True)\nwhile True: pass", on_start=kernel.manager.interrupt_kernel)
    assert [message["ename"] for message in sent if message["msg_type"] == "error"] == ["KeyboardInterrupt"]
    assert kernel.text("print('well')") == "well\n"


def test_an_interrupt_sent_to_the_launcher_alone_ends_a_cell(kernel):
    def interrupt() -> None:
        os.kill(kernel.manager.provisioner.process.pid, 2)

    sent = kernel.run("print('on', flush=True)\nimport time\ntime.sleep(100)", on_start=interrupt)
    assert [message["ename"] for message in sent if message["msg_type"] == "error"] == ["KeyboardInterrupt"]


def test_an_interrupt_ends_a_ping_that_a_cell_runs(kernel):
    started = time.monotonic()
    done: list[bool] = []

    def once() -> None:
        if not done:
            done.append(True)
            kernel.manager.interrupt_kernel()

    kernel.run("!ping -i 0.2 127.0.0.1", on_start=once)
    assert time.monotonic() - started < 10
    assert wait_until(lambda: kernel.text("!pgrep -x ping | wc -l").strip() == "0", 2)
    assert kernel.text("print('well')") == "well\n"


def test_the_debugger_stops_at_a_breakpoint(kernel):
    def ask(command: str, **arguments: Any) -> dict[str, Any]:
        ask.number += 1
        request = {"type": "request", "seq": ask.number, "command": command, "arguments": arguments}
        return kernel.control("debug_request", **request)

    ask.number = 0
    assert ask("initialize", clientID="test", adapterID="", pathFormat="path", linesStartAt1=True)["success"]
    assert ask("attach")["success"]
    code = "def double(n):\n    return 2 * n\nprint(double(21))"
    path = ask("dumpCell", code=code)["body"]["sourcePath"]
    answer = ask("setBreakpoints", source={"path": path}, breakpoints=[{"line": 2}], sourceModified=False)
    assert answer["body"]["breakpoints"][0]["verified"]
    assert ask("configurationDone")["success"]
    asked = kernel.client.execute(code)
    events = []
    while "stopped" not in events:
        message = kernel.client.get_iopub_msg(timeout=SECONDS)
        if message["msg_type"] == "debug_event":
            events.append(message["content"]["event"])
            thread = message["content"].get("body", {}).get("threadId", 1)
    assert ask("stackTrace", threadId=thread)["body"]["stackFrames"][0]["name"] == "double"
    ask("continue", threadId=thread)
    assert kernel.client.get_shell_msg(timeout=SECONDS)["parent_header"]["msg_id"] == asked
    ask("disconnect", restart=False, terminateDebuggee=False)
    assert "42" in kernel.text("print(double(21))")


def test_a_subshell_answers_while_a_cell_runs(kernel):
    subshell = kernel.control("create_subshell_request")["subshell_id"]
    kernel.client.execute("import time; time.sleep(3)")
    message = kernel.client.session.msg(
        "execute_request", {"code": "1", "silent": False, "user_expressions": {"r": "6*7"}}
    )
    message["header"]["subshell_id"] = subshell
    started = time.monotonic()
    kernel.client.shell_channel.send(message)
    while True:
        reply = kernel.client.get_shell_msg(timeout=SECONDS)
        if reply["parent_header"]["msg_id"] == message["header"]["msg_id"]:
            break
    assert reply["content"]["user_expressions"]["r"]["data"]["text/plain"] == "42"
    assert time.monotonic() - started < 2.5
    kernel.control("delete_subshell_request", subshell_id=subshell)
    kernel.client.get_shell_msg(timeout=SECONDS)


def test_its_machine_is_found_by_the_notebooks_name(kernels, watch: Watch):
    kernel = Kernel(env={**watch.environment, "JPY_SESSION_NAME": "/home/ada/lesson.ipynb"})
    try:
        [init] = watch.named("labkit-init")
        [machine] = [machine for machine in find.running() if machine.pid == init]
        assert (machine.notebook, machine.kind) == ("/home/ada/lesson.ipynb", "namespaces")
        kernel.run("!ip netns add red")
        assert join.namespaces(machine) == ["red"]
        program = [*LABKIT, "shell", "red", "--notebook", str(init), "--", "ip", "-br", "link"]
        assert subprocess.run(program, capture_output=True, text=True, timeout=20).stdout.startswith("lo ")
    finally:
        kernel.close()


def test_a_restart_gives_a_fresh_lab_machine(kernels, watch: Watch):
    kernel = Kernel(env=watch.environment)
    try:
        assert kernel.text("!ip netns add red; ip link add br0 type bridge; ip netns").split() == ["red"]
        first = watch.named("labkit-init")
        kernel.manager.restart_kernel()
        kernel.client.wait_for_ready(timeout=SECONDS)
        assert kernel.text("!ip netns; ls /sys/class/net").split() == ["lo"]
        assert not set(first) & set(watch.named("labkit-init"))
    finally:
        kernel.close()
    assert wait_until(lambda: not watch.left(), 1), watch.left()


def test_two_kernels_with_the_same_names_never_meet(kernel, kernels):
    other = Kernel(kernel.manager.kernel_name)
    try:
        for one in (kernel, other):
            one.run("!ip link add br0 type bridge && ip addr add 10.0.0.1/24 dev br0")
        kernel.run("!ip link set br0 mtu 1400")
        assert other.text("print(open('/sys/class/net/br0/mtu').read())").split() == ["1500"]
    finally:
        other.close()


def test_nbclient_runs_a_notebook(kernels, tmp_path):
    cells = [
        "!ip netns add red",
        "%cd -q .",
        "import ipywidgets; ipywidgets.Button()",
        "!ip netns",
        "import os; os.getcwd()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(
        notebook, kernel_name="labkit", timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert notebook.cells[3].outputs[0].text.strip() == "red"
    assert str(tmp_path) in notebook.cells[4].outputs[0].data["text/plain"]
    assert notebook.metadata.widgets


def test_the_connection_file_may_lie_in_run(kernels, lab_machine, tmp_path):
    """Where /run/user holds Jupyter's files, the lab machine's own /run must not hide them."""
    program = f"""
import os, sys; sys.path.insert(0, {os.path.abspath("tests")!r})
os.environ['JUPYTER_RUNTIME_DIR'] = '/run/user/7/jupyter'
from machine.test_kernel import Kernel
k = Kernel(); print(k.text('print(6*7)')); k.close()
"""
    result = lab_machine([sys.executable, "-c", program], timeout=60)
    assert result.stdout.strip() == "42", result.stderr


def test_where_namespaces_are_forbidden_every_cell_says_so(kernels, tmp_path):
    """A user namespace in which no further one may be made stands for a computer that forbids them."""
    program = (
        "import sys; sys.path.insert(0, 'tests'); from machine.test_kernel import Kernel\n"
        "k = Kernel()\n"
        "for _ in range(2):\n"
        "    for m in k.run('print(1)'): print(m['msg_type'], m.get('ename'), m.get('evalue'))\n"
        "k.close()"
    )
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; echo 0 > /proc/sys/user/max_net_namespaces; exec "$@"'
    result = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", forbid, "sh", sys.executable, "-c", program],
        capture_output=True, text=True, timeout=60,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path), "LABKIT_MACHINE": "namespaces"},
    )  # fmt: skip
    errors = [line for line in result.stdout.splitlines() if line.startswith("error")]
    expected = (
        "error NamespacesForbidden failed to start a lab machine: the kernel gives this user no namespaces "
        "(no space left on device)"
    )
    assert errors == [expected, expected], result.stdout + result.stderr
    assert "max_user_namespaces" in result.stdout
    log = (tmp_path / "labkit" / "kernel.log").read_text()
    assert re.search(r"pid \d+: the lab machine could not start\n", log)
    assert "NamespacesForbidden" in log


@pytest.mark.parametrize("refused", ["uid_map", "mount"])
def test_a_refusal_after_the_namespaces_were_taken_is_told_in_every_cell(kernels, watch, refused, tmp_path):
    """Ubuntu 24.04 gives user namespaces in which nothing is allowed: no uid_map; a container may forbid mounts."""
    (tmp_path / "sitecustomize.py").write_text(f"""
import builtins, sys
if "labkit.machine.kernel" in " ".join(sys.orig_argv):
    from labkit.machine import launch, private
    from labkit.net import libc
    def refuse(*_):
        raise private.CannotPrepare("make the mounts private", PermissionError(13, "Permission denied"))
    if {refused == "mount"}:
        private.prepare = refuse
    else:
        def take():
            libc.unshare(launch._ALL)
            raise PermissionError(1, "Operation not permitted")
        launch._take_namespaces = take
""")
    program = (
        "import sys; sys.path.insert(0, 'tests'); from machine.test_kernel import Kernel\n"
        "k = Kernel()\n"
        "for _ in range(2):\n"
        "    for m in k.run('print(1)'): print(m['msg_type'], m.get('ename'), m.get('evalue'))\n"
        "k.close()"
    )
    result = subprocess.run(
        ["unshare", "-Ur", sys.executable, "-c", program], capture_output=True, text=True, timeout=60,
        env={
            **watch.environment, "XDG_STATE_HOME": str(tmp_path), "PYTHONPATH": str(tmp_path),
            "LABKIT_MACHINE": "namespaces",
        },
    )  # fmt: skip
    errors = [line for line in result.stdout.splitlines() if line.startswith("error")]
    assert len(errors) == 2, result.stdout + result.stderr
    assert "NamespacesForbidden failed to start a lab machine: the kernel gives this user no namespaces" in errors[0]
    assert wait_until(lambda: not watch.processes())


def test_the_log_says_why_a_kernel_could_not_start(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "labkit.machine.kernel", "-f", str(tmp_path / "none.json")],
        capture_output=True, text=True, timeout=20, env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert result.returncode == 1
    assert "FileNotFoundError" in (tmp_path / "labkit" / "kernel.log").read_text()
