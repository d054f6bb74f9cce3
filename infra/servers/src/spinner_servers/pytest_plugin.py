"""Fixtures that give tests real servers: `kafka_bootstrap`, `mariadb_url`, `elasticsearch_url`, `s3_endpoint`,
`kubernetes_api`, `kubernetes_node`, `vault_server`; and a `control_group` for processes.

Each starts its server once a session, on first use, in a temporary folder, and removes it at the end. An
environment variable (SPINNER_TEST_KAFKA, SPINNER_TEST_MARIADB, SPINNER_TEST_ELASTICSEARCH, the data folder in
SPINNER_TEST_KUBERNETES) names a running one to use instead.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spinner_servers import cgroups, elasticsearch, kafka, kubernetes, mariadb, objectstore, process, vault
from spinner_servers import kubernetes_node as real_node
from spinner_servers.kubernetes import build
from spinner_servers.process import Launch, ServerError, free_port

_BUILD_SECONDS = 1500
_KUBERNETES = {"kubernetes_api", "kubernetes_node", "vault_server"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "kubernetes: needs a Kubernetes API, whose first build takes minutes")
    config.addinivalue_line("markers", "cgroup2: starts a kernel of its own, which Debian alone has")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what asks for a fixture of Kubernetes, so that suites can be told apart."""
    for item in items:
        if _KUBERNETES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kubernetes)
        if item.get_closest_marker("kubernetes") and not (build.is_built() and vault.is_built()):
            item.add_marker(pytest.mark.timeout(_BUILD_SECONDS))


@contextmanager
def _serving(name: str, prepare: Callable[[Path], Launch]) -> Iterator[Launch]:
    # Short and outside of pytest's folders: socket paths are limited, and these belong to the account of the tests.
    data = Path(tempfile.mkdtemp(prefix=f"spinner-{name}-"))
    try:
        launch = prepare(data)
        process.start(launch, with_parent=True)
        yield launch
    finally:
        process.stop(data, grace_seconds=0)
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """Bootstrap servers of a real Kafka broker without topics."""
    if stated := os.environ.get("SPINNER_TEST_KAFKA"):
        yield stated
        return
    port = free_port()
    with _serving("kafka", lambda data: kafka.prepare(data, port, free_port(taken=[port]))) as launch:
        yield launch.address


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """SQLAlchemy URL (`mysql+pymysql`) of an empty database of this session on a real MariaDB."""
    import pymysql

    def fresh(address: str) -> Iterator[str]:
        host, port = address.rsplit(":", 1)
        name = f"spinner_{uuid.uuid4().hex[:12]}"

        def execute(statement: str) -> None:
            with (
                pymysql.connect(host=host, port=int(port), user=mariadb.USER, password=mariadb.PASSWORD) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute(statement)

        execute(f"CREATE DATABASE {name}")
        yield f"mysql+pymysql://{mariadb.USER}:{mariadb.PASSWORD}@{address}/{name}?charset=utf8mb4"
        execute(f"DROP DATABASE {name}")

    if stated := os.environ.get("SPINNER_TEST_MARIADB"):
        yield from fresh(stated)
        return
    with _serving("mariadb", lambda data: mariadb.prepare(data, free_port())) as launch:
        yield from fresh(launch.address)


@pytest.fixture(scope="session")
def elasticsearch_url() -> Iterator[str]:
    """URL of a real Elasticsearch 8 (without `GET /`: check `_cluster/health`)."""
    if stated := os.environ.get("SPINNER_TEST_ELASTICSEARCH"):
        yield stated
        return
    port = free_port()
    with _serving("elasticsearch", lambda data: elasticsearch.prepare(data, port, free_port(taken=[port]))) as launch:
        yield f"http://{launch.address}"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[dict[str, str]]:
    """`url`, `access_key`, `secret_key` of an S3 server, and its `kind`: minio, or moto where Go is missing."""
    with _serving("s3", lambda data: objectstore.prepare(data, free_port())) as launch:
        yield {
            "url": f"http://{launch.address}",
            "access_key": objectstore.ACCESS_KEY,
            "secret_key": objectstore.SECRET_KEY,
            "kind": objectstore.kind(),
        }


@pytest.fixture
def vault_server() -> Iterator[vault.Vault]:
    """A Vault of its own, unsealed and empty; built on first use (minutes)."""
    server = vault.Vault()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def control_group() -> Iterator[str]:
    """Name of an empty control group (see `spinner_servers.cgroups`); what is in it at the end is killed."""
    if not (cgroups.ROOT.exists() and os.access(cgroups.ROOT, os.W_OK)):
        pytest.skip(f"Control groups cannot be made here: {cgroups.ROOT} needs root on Linux.")
    name = f"spinner-test-{uuid.uuid4().hex[:8]}"
    try:
        try:
            cgroups.make(name)
        except ServerError as error:
            pytest.skip(str(error))
        yield name
    finally:
        cgroups.remove(name)


@pytest.fixture(scope="session")
def kubernetes_node() -> Iterator[real_node.Node]:
    """A control plane and a real node (containerd, kubelet) with the worker's image; builds them on first use.

    SPINNER_TEST_KUBERNETES_NODE=<data folder> uses one started by `python -m spinner_servers kubernetes-node start`.
    """
    if why := real_node.missing():
        pytest.skip(why)
    if stated := os.environ.get("SPINNER_TEST_KUBERNETES_NODE"):
        yield real_node.start(Path(stated))
        return
    data = Path(tempfile.mkdtemp(prefix="spinner-node-"))
    try:
        yield real_node.start(data, with_parent=True)
    finally:
        real_node.remove(data)


@pytest.fixture(scope="session")
def kubernetes_api() -> Iterator[kubernetes.Cluster]:
    """A real Kubernetes API with controllers, scheduler and four simulated nodes; builds it on first use (minutes).

    SPINNER_TEST_KUBERNETES=<data folder> uses a cluster started by `python -m spinner_servers kubernetes start`.
    """
    if stated := os.environ.get("SPINNER_TEST_KUBERNETES"):
        yield kubernetes.start(Path(stated), nodes=4)
        return
    data = Path(tempfile.mkdtemp(prefix="spinner-kubernetes-"))
    try:
        yield kubernetes.start(data, nodes=4, with_parent=True)
    finally:
        kubernetes.stop(data, grace_seconds=0)
        shutil.rmtree(data, ignore_errors=True)
