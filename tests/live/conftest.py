"""The live layer in User-Mode Linux, which has no nftables for IPv4: what asks for it is skipped, and counted."""

from __future__ import annotations

import subprocess
from collections.abc import Generator

import pytest

from labkit.net import here


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Skip a test whose own commands nft refused, where no nft command could work; any other failure stays one."""
    try:
        return (yield)
    except subprocess.CalledProcessError as error:
        refused = "Operation not supported" in str(error.stderr or "") and "nft" in str(error.cmd)
        if refused and here.on_user_mode_linux():
            pytest.skip("needs: nftables' ip family, which User-Mode Linux lacks")
        raise
