"""Each promise of docs/execution.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[4]
TESTS = ROOT / "services" / "executor" / "tests"
TOPS = ("services/", "sdk/", "libs/", "e2e/")


def test_the_tests_that_the_document_names_exist() -> None:
    named = 0
    for line in (ROOT / "docs" / "execution.md").read_text().splitlines():
        if line.count("|") < 5:
            continue
        current = ""
        for name in re.findall(r"`([^`]+)`", line.split("|")[-2]):
            file, _, test = name.partition("::")
            if not test and not file.endswith((".py", ".ts")):
                continue
            current = file or current
            path = (ROOT if current.startswith(TOPS) else TESTS) / current
            assert f"def {test}(" in path.read_text() if test else path.exists(), name
            named += 1
    assert named > 90
