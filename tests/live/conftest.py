"""The live layer in User-Mode Linux, which has no nftables for IPv4: what asks for it is skipped, and counted."""

from __future__ import annotations

import subprocess
from collections.abc import Generator

import pytest

from labkit.net import here

_REFUSALS = (  # of nft, and of iptables-nft
    "Could not process rule: Operation not supported",
    "Could not fetch rule set generation id: Operation not supported",
    "ERROR: No valid subcommand given.",  # iptables-nft, which is iptables-legacy there
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Skip a test whose own commands nft refused, where no nft command can work; any other failure stays one."""
    try:
        return (yield)
    except (AssertionError, subprocess.CalledProcessError) as error:
        said = f"{error} {getattr(error, 'stderr', '')}"
        asked = str(getattr(error, "cmd", ""))
        if here.on_user_mode_linux() and (" nft " in asked or any(words in said for words in _REFUSALS)):
            pytest.skip("needs: nftables' ip family, which User-Mode Linux lacks")
        raise
