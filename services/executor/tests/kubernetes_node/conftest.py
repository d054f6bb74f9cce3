from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from spinner_servers.kubernetes_node import Node

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "support"))
sys.path.insert(0, str(Path(__file__).parent / "support"))

from node_stage import NodeStage


@pytest.fixture
def stage(
    kafka_bootstrap: str, kubernetes_node: Node, s3_endpoint: dict[str, str], tmp_path: Path
) -> Iterator[NodeStage]:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # pods' users are others than the tests'
    made = NodeStage(kafka_bootstrap, tmp_path, kubernetes_node, s3_endpoint)
    yield made
    made.close()
