"""What a Docker of another version makes differently is no failure: it is told at the end of the run."""

from __future__ import annotations

import pytest

_DIFFERENT = pytest.StashKey[list[str]]()


@pytest.fixture
def different(request: pytest.FixtureRequest) -> list[str]:
    """Lines to be told."""
    return request.config.stash.setdefault(_DIFFERENT, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for number, line in enumerate(config.stash.get(_DIFFERENT, [])):
        if number == 0:
            terminalreporter.section("this Docker is another version than the recorded one, and differs")
        terminalreporter.write_line(line)
