"""What does a client get, and how does it show itself? As kubectl prints it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labkit.kube.store import Object

__all__ = ["Applied", "Listing"]


class Applied(list[dict[str, Any]]):
    """What became of each object of a manifest. Shows itself as `kubectl apply` does."""

    def __repr__(self) -> str:
        lines = [f"Warning: {text}" for one in self for text in one["warnings"]]
        return "\n".join([*lines, *(f"{_prefix(one['kind'])}{one['name']} {one['done']}" for one in self)])


def _prefix(kind: str) -> str:
    return "deployment.apps/" if kind == "Deployment" else f"{kind.lower()}/"


class Listing(Sequence[Object]):
    """Objects of one kind. Shows itself as `kubectl get` does; `typed` are the same as lightkube's models."""

    def __init__(self, kind: str, objects: list[Object], wide: bool, everywhere: bool = False) -> None:
        self.kind, self.objects, self._wide, self._everywhere = kind, objects, wide, everywhere

    @property
    def typed(self) -> list[Any]:
        """The objects, each with attributes: .metadata.name, .status.podIP ..."""
        from labkit.kube.objects import typed

        return [typed(one) for one in self.objects]

    def __getitem__(self, place: Any) -> Any:
        return self.objects[place]

    def __len__(self) -> int:
        return len(self.objects)

    def __repr__(self) -> str:
        from labkit.kube import printing

        return str(printing.table(self.kind, self.objects, wide=self._wide, namespaces=self._everywhere)).rstrip()
