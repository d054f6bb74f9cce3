"""Runs the Playwright journeys, a file a test, against a stack of their own or the one in SPINNER_BASE_URL."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from spinner_local import ui

from e2e.harness import ROOT, Stack

HERE = Path(__file__).resolve().parent
PACKAGES = ui.folder(ROOT) / "node_modules"
JOURNEYS = sorted(path.name for path in HERE.glob("*.spec.ts"))


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """What the journeys need to know: the stack's address, and a bundle folder where they may write."""
    if "SPINNER_BASE_URL" in os.environ:
        return dict(os.environ)
    if not ui.is_current(ROOT):
        log = ROOT / "build" / "e2e-ui-build.log"
        log.parent.mkdir(exist_ok=True)
        ui.build(ROOT, log)
    stack: Stack = request.getfixturevalue("stack")
    return {**os.environ, "SPINNER_BASE_URL": stack.url, "SPINNER_SCRATCH": str(stack.scratch)}


@pytest.mark.parametrize("journey", JOURNEYS)
def test_journey(journey: str, environment: dict[str, str]) -> None:
    node = shutil.which("node")
    assert node, "Node.js ≥ 20 is missing."
    done = subprocess.run(
        [node, str(PACKAGES / "@playwright" / "test" / "cli.js"), "test", "--config", str(HERE), journey],
        env={**environment, "NODE_PATH": str(PACKAGES)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
