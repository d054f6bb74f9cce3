"""The control plane's processes, each in a folder of its own below the cluster's data folder.

    <data>/etcd apiserver controllers scheduler kwok      log, server.json
    <data>/pki  tokens.csv  cluster.json  *.kubeconfig

Users are told apart by tokens: `admin` may do everything, `kubelet` is the one real node (named `Cluster.node`).
Data are not synced to disk (`--unsafe-no-fsync`): a killed process loses nothing, a machine that crashes may.
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spinner_servers import process
from spinner_servers.kubernetes import build, pki
from spinner_servers.process import Launch, ServerError, free_port
from spinner_servers.progress import step

_ORDER = ("etcd", "apiserver", "controllers", "scheduler", "kwok")
# An address that nothing has (RFC 5737): the API server refuses to advertise loopback.
_NOWHERE = "192.0.2.250"


@dataclass(frozen=True)
class Cluster:
    """A started cluster. `kubeconfig` is the administrator's; `token` its token; `ca` verifies `url`."""

    data: str
    url: str
    etcd_url: str
    token: str
    node: str
    # Its processes end with the one that started it.
    with_parent: bool = False

    @property
    def kubeconfig(self) -> Path:
        return Path(self.data) / "admin.kubeconfig"

    @property
    def kubelet_kubeconfig(self) -> Path:
        return Path(self.data) / "kubelet.kubeconfig"

    @property
    def ca(self) -> Path:
        return Path(self.data) / "pki" / "ca.crt"

    def request(
        self, method: str, path: str, body: object = None, content_type: str = "application/json", timeout: float = 30
    ) -> Any:
        """One call as the administrator; returns the answer's JSON. Raises urllib.error.HTTPError."""
        request = urllib.request.Request(  # noqa: S310 - our own server
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": content_type},
        )
        context = ssl.create_default_context(cafile=self.ca)
        with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:  # noqa: S310
            text = answer.read()
        return json.loads(text) if text.startswith(b"{") else text.decode()

    def add_nodes(self, count: int, pods: int = 1000, prefix: str = "kwok") -> list[str]:
        """Adds simulated nodes of 64 CPUs, each for `pods` pods; kwok makes them ready. Idempotent."""
        names = [f"{prefix}-{n}" for n in range(count)]
        for name in names:
            room = {"cpu": "64", "memory": "256Gi", "pods": str(pods), "ephemeral-storage": "1Ti"}
            node = {
                "metadata": {"name": name, "labels": {"type": "kwok", "kubernetes.io/hostname": name}},
                "status": {"allocatable": room, "capacity": room},
            }
            try:
                self.request("POST", "/api/v1/nodes", node)
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
        return names


def find(data: Path) -> Cluster | None:
    """The cluster of this folder, if it was ever started."""
    try:
        return Cluster(**json.loads((data / "cluster.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def start(
    data: Path,
    port: int = 0,
    bind: str = "127.0.0.1",
    nodes: int = 1,
    with_parent: bool = False,
    api_flags: Sequence[str] = (),
) -> Cluster:
    """Starts what is not running yet and blocks until the cluster takes pods. Builds the binaries first if needed.

    `bind`: the API server's address; another than loopback lets nodes in a network of their own reach it. `nodes`:
    simulated ones; 0 starts no kwok. Raises ServerError, leaving nothing running.
    """
    data = data.resolve()
    kube, kwok = build.kube(), build.kwok() if nodes else None
    data.mkdir(parents=True, exist_ok=True)
    pki.write(data / "pki", bind)
    loopback = bind.startswith("127.")
    # A node on loopback is reached by its name.
    node = "localhost" if loopback else "spinner-node"
    users = {
        "admin": ("admin", "system:masters"),
        "scheduler": ("system:kube-scheduler", ""),
        "kubelet": (f"system:node:{node}", "system:nodes"),
    }
    tokens = pki.tokens(data / "tokens.csv", users)
    known = find(data)
    if known is None or process.running(data / "apiserver") is None:
        etcd_port = free_port(port + 1 if port else 0)
        etcd_url = known.etcd_url if known else f"http://127.0.0.1:{etcd_port}"
        url = known.url if known else f"https://{bind}:{free_port(port, [etcd_port])}"
        known = Cluster(str(data), url, etcd_url, tokens["admin"], node, with_parent)
        (data / "cluster.json").write_text(json.dumps(asdict(known)))
    for name in users:
        pki.kubeconfig(data / f"{name}.kubeconfig", known.url, known.ca, tokens[name])
    try:
        process.start(_etcd(known, kube), with_parent)
        process.start(_api_server(known, kube, bind, api_flags), with_parent)
        process.start(_controllers(known, kube), with_parent)
        process.start(_scheduler(known, kube), with_parent)
        if kwok is not None:
            process.start(_kwok(known, kwok), with_parent)
            known.add_nodes(nodes)
            _wait("its simulated nodes are ready", lambda: _ready_nodes(known) >= nodes)
    except BaseException:
        stop(data)
        raise
    return known


def stop(data: Path, grace_seconds: float = 5.0) -> bool:
    """Stops every process of the cluster; returns whether any was running. Data stay."""
    stopped = [process.stop(data.resolve() / name, grace_seconds) for name in reversed(_ORDER)]
    return any(stopped)


def restart_api_server(
    cluster: Cluster, grace_seconds: float = 5.0, while_down: Callable[[], None] = lambda: None
) -> None:
    """Stops the API server (SIGKILL with 0 seconds of grace), calls `while_down`, and starts it again as it was.

    Its watch cache begins anew, so older watches get 410 Gone when etcd was compacted meanwhile.
    """
    folder = Path(cluster.data) / "apiserver"
    command = json.loads((folder / "command.json").read_text())
    process.stop(folder, grace_seconds)
    while_down()
    process.start(_launch(cluster, "apiserver", command, cluster.url, _api_ready(cluster)), cluster.with_parent)


def compact(cluster: Cluster) -> None:
    """Forgets etcd's history up to now, so that watches from earlier versions end with 410 Gone."""
    version = cluster.request("GET", "/api/v1/namespaces?limit=1")["metadata"]["resourceVersion"]
    body = json.dumps({"revision": version, "physical": True}).encode()
    urllib.request.urlopen(f"{cluster.etcd_url}/v3/kv/compaction", data=body, timeout=30).close()  # noqa: S310


def _launch(cluster: Cluster, name: str, command: Sequence[str], address: str, ready: Callable[[], bool]) -> Launch:
    folder = Path(cluster.data) / name
    folder.mkdir(exist_ok=True)
    (folder / "command.json").write_text(json.dumps(list(command)))
    return Launch(
        name=f"Kubernetes {name}",
        command=command,
        data=folder,
        log=folder / "log",
        address=address,
        ready=ready,
        ready_seconds=90.0,
    )


def _etcd(cluster: Cluster, kube: Path) -> Launch:
    peers = f"http://127.0.0.1:{free_port()}"
    command = [
        str(kube), "etcd", "--data-dir", f"{cluster.data}/etcd/data",
        "--listen-client-urls", cluster.etcd_url, "--advertise-client-urls", cluster.etcd_url,
        "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}",
        "--unsafe-no-fsync", "--log-level", "warn",
    ]  # fmt: skip
    return _launch(cluster, "etcd", command, cluster.etcd_url, lambda: _answers(f"{cluster.etcd_url}/health"))


def _api_server(cluster: Cluster, kube: Path, bind: str, flags: Sequence[str]) -> Launch:
    keys = f"{cluster.data}/pki"
    loopback = bind.startswith("127.")
    command = [
        str(kube), "apiserver", "--etcd-servers", cluster.etcd_url,
        "--bind-address", bind, "--secure-port", cluster.url.rpartition(":")[2],
        "--advertise-address", _NOWHERE if loopback else bind, "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,PodNodeSelector", "--anonymous-auth=false", "--profiling=false",
        "--token-auth-file", f"{cluster.data}/tokens.csv", "--client-ca-file", f"{keys}/ca.crt",
        "--tls-cert-file", f"{keys}/apiserver.crt", "--tls-private-key-file", f"{keys}/apiserver.key",
        "--kubelet-client-certificate", f"{keys}/kubelet-client.crt",
        "--kubelet-client-key", f"{keys}/kubelet-client.key",
        f"--kubelet-preferred-address-types={'Hostname' if loopback else 'InternalIP'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-account-key-file", f"{keys}/sa.key", "--service-account-signing-key-file", f"{keys}/sa.key",
        *flags,
    ]  # fmt: skip
    return _launch(cluster, "apiserver", command, cluster.url, _api_ready(cluster))


def _controllers(cluster: Cluster, kube: Path) -> Launch:
    # As administrator: with a service account for each controller it is ready four seconds later.
    command = [
        str(kube), "controller-manager", "--kubeconfig", str(cluster.kubeconfig), "--bind-address=127.0.0.1",
        "--secure-port=0", "--leader-elect=false", "--use-service-account-credentials=false", "--profiling=false",
        "--service-account-private-key-file", f"{cluster.data}/pki/sa.key", "--root-ca-file", str(cluster.ca),
        "--kube-api-qps=200", "--kube-api-burst=400",
    ]  # fmt: skip

    def ready() -> bool:
        try:
            cluster.request("GET", "/api/v1/namespaces/default/serviceaccounts/default")
        except urllib.error.HTTPError:
            return False
        return True

    return _launch(cluster, "controllers", command, cluster.url, ready)


def _scheduler(cluster: Cluster, kube: Path) -> Launch:
    port = free_port()
    configuration = Path(cluster.data) / "scheduler.json"
    document = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": f"{cluster.data}/scheduler.kubeconfig", "qps": 1000, "burst": 2000},
        "leaderElection": {"leaderElect": False},
    }
    configuration.write_text(json.dumps(document))
    command = [
        str(kube), "scheduler", "--config", str(configuration), "--bind-address=127.0.0.1",
        "--secure-port", str(port), "--cert-dir", f"{cluster.data}/scheduler/certs", "--profiling=false",
    ]  # fmt: skip
    return _launch(cluster, "scheduler", command, cluster.url, lambda: process.accepts(port))


def _kwok(cluster: Cluster, kwok: Path) -> Launch:
    port = free_port()
    command = [
        str(kwok), "--kubeconfig", str(cluster.kubeconfig), "--config", str(Path(__file__).with_name("stages.yaml")),
        "--manage-nodes-with-label-selector", "type=kwok", "--node-lease-duration-seconds", "40",
        "--v=WARN", "--cidr", "10.200.0.0/16", "--node-ip", "10.99.0.2", "--server-address", f"127.0.0.1:{port}",
    ]  # fmt: skip
    return _launch(cluster, "kwok", command, cluster.url, lambda: _answers(f"http://127.0.0.1:{port}/healthz"))


def _api_ready(cluster: Cluster) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            return bool(cluster.request("GET", "/readyz", timeout=3) == "ok")
        except urllib.error.HTTPError:
            return False

    return ready


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310 - a loopback address of ours
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False


def _ready_nodes(cluster: Cluster) -> int:
    nodes = cluster.request("GET", "/api/v1/nodes?labelSelector=type%3Dkwok")["items"]
    return sum(
        any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))
        for node in nodes
    )


def _wait(what: str, condition: Callable[[], bool]) -> None:
    with step(f"waiting until {what}"):
        deadline = time.monotonic() + 60
        while not condition():
            if time.monotonic() > deadline:
                raise ServerError(f"Kubernetes: not within 60 s: {what}")
            time.sleep(0.05)
