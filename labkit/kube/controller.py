"""The controller: the one process of a cluster that writes. Who asks it, and what does it do?

`python -m labkit.kube.controller` is started by labkit.kube.up and `labkit cluster up`. It holds the store, one thread
for what a controller manager and a scheduler do, one for each node's kubelet, and a process, the spawner, which is the
parent of all sandboxes and containers. When it ends, however it ends, the cluster is gone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from labkit.errors import LabkitError
from labkit.kube.processes.spawner import Spawner
from labkit.kube.wire import FOLDER, SOCKET, error_as_data, refusal
from labkit.net.here import ensure_lab_machine

if TYPE_CHECKING:  # loaded in main, while the spawner starts
    from labkit.kube.cluster import Cluster

__all__ = ["main"]

_SMALL = (
    '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", '
    '"image": "pause"}]}}'
)
_SWITCH = 0.0005  # seconds until another thread gets its turn: a kubelet waits for answers of the kernel, mostly


class _Asked(socketserver.StreamRequestHandler):
    """One client: one line, one answer."""

    def handle(self) -> None:
        try:
            question = json.loads(self.rfile.readline() or b"{}")
            answer: dict[str, Any] = {"result": self.server.answer(question)}  # type: ignore[attr-defined]
        except LabkitError as error:
            answer = {"error": error_as_data(error)}
        except Exception as error:  # noqa: BLE001 - a client's question must not end the cluster
            import traceback

            traceback.print_exc()
            answer = {"error": error_as_data(refusal("InternalError", f"{type(error).__name__}: {error}"))}
        with suppress(OSError):  # the client has left
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = False  # whoever asked gets an answer, also to `down`
    request_queue_size = 128

    def __init__(self, path: str, cluster: Cluster) -> None:
        super().__init__(path, _Asked)
        self.cluster = cluster

    def answer(self, question: dict[str, Any]) -> Any:
        verb = question.pop("verb", "")
        if verb not in self.cluster.VERBS:
            raise refusal(
                "BadRequest", f"the cluster knows no verb '{verb}'", f"verbs: {', '.join(self.cluster.VERBS)}"
            )
        work: Callable[..., Any] = getattr(self.cluster, verb)
        return work(**question)


def _manage(cluster: Cluster) -> None:
    """Be the controller manager and the scheduler, for ever."""
    from labkit.kube import control

    store = cluster.store
    while True:
        seen = store.version()
        control.manage(store)
        store.wait(lambda seen=seen: store.version() != seen, None)  # type: ignore[misc]


def _begin(wanted: dict[str, Any]) -> Cluster:
    """Return the cluster. All modules are loaded while the spawner starts, those that read manifests too."""
    spawning: Future[Spawner] = Future()
    threading.Thread(target=lambda: _settle(spawning)).start()
    from labkit.kube import objects
    from labkit.kube.cluster import Cluster

    objects.read(_SMALL)
    processes = spawning.result()
    try:
        return Cluster(**wanted, processes=processes)
    except BaseException:
        processes.close()
        raise


def _settle(spawning: Future[Spawner]) -> None:
    try:
        spawning.set_result(Spawner())
    except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
        spawning.set_exception(error)


def main() -> int:
    """Be the cluster's controller until somebody says `down`. What it was asked to be stands in the first argument.

    The second one is the descriptor of a socket, which gets a line: why there is no cluster, or an empty one. Then a
    line is to come back; whoever has left before that wants no cluster any more."""
    wanted, caller = json.loads(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
    try:
        ensure_lab_machine("start a cluster")
        os.makedirs(FOLDER, exist_ok=True)
        cluster = _begin(wanted)
    except LabkitError as error:
        caller.sendall(json.dumps(error_as_data(error)).encode() + b"\n")
        return 1
    with suppress(FileNotFoundError):
        os.unlink(SOCKET)
    server = _Server(SOCKET, cluster)
    sys.setswitchinterval(_SWITCH)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=cluster.down).start())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=_manage, args=(cluster,), daemon=True).start()
    if not _is_wanted(caller):
        cluster.down()
    cluster.ended.wait()
    server.shutdown()
    server.server_close()
    with suppress(FileNotFoundError):
        os.unlink(SOCKET)
    return 0


def _is_wanted(caller: socket.socket) -> bool:
    """Tell the caller that the cluster is there, and return whether it heard."""
    with caller:
        try:
            caller.sendall(b"\n")
            return bool(caller.recv(1))
        except ConnectionError:
            return False


if __name__ == "__main__":
    sys.exit(main())
