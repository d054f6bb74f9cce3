from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(_TESTS / "integration" / "support"), str(Path(__file__).parent / "support")]

from places import KubernetesPlace, LocalPlace, Place  # noqa: E402
from stage import Stage  # noqa: E402


@pytest.fixture(params=["local", pytest.param("kubernetes", marks=pytest.mark.kubernetes)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made: Place = (
        LocalPlace(tmp_path) if request.param == "local" else KubernetesPlace(request.getfixturevalue("kubernetes_api"))
    )
    yield made
    made.close()


@pytest.fixture
def stage(place: Place, kafka_bootstrap: str, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(kafka_bootstrap, tmp_path)
    made.settings |= {"executor_entry": "spinner.runtime.runner:run_local", **place.settings}
    if "kubernetes_address" in place.settings:
        made.addresses = place.settings["kubernetes_address"].split(",")
    yield made
    made.close()
