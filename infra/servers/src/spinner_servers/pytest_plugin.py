"""Fixtures that give tests real servers: `kafka_bootstrap`, `mariadb_url`, `elasticsearch_url`, `s3_endpoint`."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def kafka_bootstrap() -> str:
    """Bootstrap servers of a real Kafka broker: SPINNER_TEST_KAFKA."""
    return os.environ["SPINNER_TEST_KAFKA"]
