"""Tests say as whom they make sense; the runner runs them as both, so that nothing is left out.

`@pytest.mark.as_root`: only root can do it. `@pytest.mark.as_user`: root would be let in where a user is refused.
Elsewhere they are deselected, not skipped: a skip says that this computer lacks something.
"""

from __future__ import annotations

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "docker: it compares with a real Docker, running or recorded")
    config.addinivalue_line("markers", "as_root: only root can do it")
    config.addinivalue_line("markers", "as_user: root would be let in where a user is refused")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unfit = "as_user" if os.geteuid() == 0 else "as_root"
    left_out = [item for item in items if item.get_closest_marker(unfit)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
