"""The fake executor, and a worker forked from this process, as fixtures."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_PATH = Path(__file__).parent / "support" / "fake_executor.py"
_spec = importlib.util.spec_from_file_location("spinner_sdk_fake_executor", _PATH)
assert _spec is not None and _spec.loader is not None
fake_executor = importlib.util.module_from_spec(_spec)
sys.modules["spinner_sdk_fake_executor"] = fake_executor
_spec.loader.exec_module(fake_executor)


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[object]:
    """A fake executor with an empty bundle; ``executor.run(source, task_id)`` runs a try in a child process."""
    fake = fake_executor.FakeExecutor(tmp_path)
    yield fake
    fake.close()


@pytest.fixture(autouse=True)
def _clean_stack() -> Iterator[None]:
    """A failed test leaves no DAG entered."""
    from spinner.core import stack

    stack.reset()
    yield
    stack.reset()
