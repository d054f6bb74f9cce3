from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from spinner_servers.kubernetes_node import Node

_TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(_TESTS / "integration" / "support"), str(Path(__file__).parent / "support")]

from node_place import NodePlace  # noqa: E402
from places import KubernetesPlace, LocalPlace, Place  # noqa: E402
from stage import Stage  # noqa: E402

_PODS = [pytest.param(name, marks=pytest.mark.kubernetes) for name in ("kubernetes", "node")]


@pytest.fixture(params=["local", *_PODS])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "node":
        yield request.getfixturevalue("node_place")
        return
    made: Place = (
        LocalPlace(tmp_path) if request.param == "local" else KubernetesPlace(request.getfixturevalue("kubernetes_api"))
    )
    yield made
    made.close()


@pytest.fixture
def node_place(kubernetes_node: Node, s3_endpoint: dict[str, str], tmp_path: Path) -> Iterator[NodePlace]:
    made = NodePlace(kubernetes_node, s3_endpoint, tmp_path)
    yield made
    made.close()


@pytest.fixture
def stage(place: Place, kafka_bootstrap: str, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(kafka_bootstrap, tmp_path)
    if isinstance(place, NodePlace):
        place.furnish(made)
    made.settings |= {"executor_entry": "spinner.runtime.runner:run_local", **place.settings}
    if "kubernetes_address" in place.settings:
        made.addresses = place.settings["kubernetes_address"].split(",")
    yield made
    made.close()
