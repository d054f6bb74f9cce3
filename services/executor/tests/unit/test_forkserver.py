"""What the fork server has with it. In a process of its own, as it is meant."""

from __future__ import annotations

import subprocess
import sys

# Each library costs every fork; whoever needs one of these imports it there.
RARE = {"asyncio", "csv", "decimal", "email", "http", "ssl", "tarfile", "uuid"}


def test_a_fork_server_has_no_library_that_few_tries_need() -> None:
    code = (
        "import sys, spinner_executor.adapters.local.forkserver; from spinner.runtime import preload; preload(); "
        "print(*sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert RARE & {*found.stdout.split()} == set()
