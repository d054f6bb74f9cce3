"""A real Kubernetes node on this machine: containerd, runc and a kubelet, for pods that really run. Linux, root.

    <data>/containerd/   log, server.json, config.toml, root, state      <data>/kubelet/   log, server.json, …
    <data>/cluster/      the control plane (`spinner_servers.kubernetes`)
    <data>/pods/         logs of containers

The node is called `localhost` and has loopback for a network: pods use the host's (`hostNetwork: true`), so they reach
every server of a test at 127.0.0.1. Its cgroups are below `/spinner-node-<hash of data>`, so that several nodes live
side by side. `stop` ends everything that the node started, also after a crash: containers by their cgroup, shims by
their socket, then mounts and cgroups. Nodes are in a register, `<cache>/nodes/`: a start ends what is left of those
that were killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from spinner_servers import cgroups, kubernetes, process, worker_image
from spinner_servers.image_archive import Image, pack_layer, write_archive
from spinner_servers.install import debian, locked, run
from spinner_servers.kubernetes import Cluster, build
from spinner_servers.process import Launch, ServerError, free_port
from spinner_servers.progress import say, step

PAUSE = "docker.io/spinner/pause:local"
# Between what pods may use before the kubelet evicts and where the kernel would kill: it looks every 10 s.
_HEADROOM_BYTES = 512 << 20
_CNI = Path("/usr/lib/cni")


@dataclass(frozen=True)
class Node:
    """A started node. Images `worker_image.WORKER` and `.LEGACY` are on it."""

    data: Path
    cluster: Cluster

    def kubectl(self, *arguments: str) -> str:
        """Output of a kubectl command as the administrator; raises CalledProcessError."""
        command = [str(build.kube()), "kubectl", "--kubeconfig", str(self.cluster.kubeconfig), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    @property
    def pods(self) -> str:
        """The control group of all pods (see `cgroups`)."""
        return f"{_cgroup(self.data)}/kubepods"

    def import_image(self, archive: Path) -> None:
        """Puts an image of an archive onto the node."""
        _ctr(self.data, "images", "import", "--digests=false", str(archive))


def missing() -> str:
    """Why there can be no node here; empty when there can."""
    if sys.platform != "linux":
        return "A real node needs Linux; on this system run tests against your own cluster."
    if os.geteuid() != 0:
        return "A real node needs root: it makes cgroups, namespaces and mounts."
    if not os.access(cgroups.ROOT, os.W_OK):
        return f"A real node needs writable cgroups; {cgroups.ROOT} is read-only here."
    return ""


def start(data: Path, with_parent: bool = False, memory_bytes: int = 0) -> Node:
    """Starts control plane, containerd and kubelet, and blocks until the node takes pods. Raises ServerError.

    `memory_bytes`: what the node has for its pods, so that it runs out of memory by what they use, whatever else this
    machine does; 0: the machine's. Builds or installs what is missing first: minutes once, seconds afterwards.
    """
    if why := missing():
        raise ServerError(why)
    data = data.resolve()
    data.mkdir(parents=True, exist_ok=True)
    reap()
    register(data, temporary=with_parent)
    archives = install()
    cluster = kubernetes.start(data / "cluster", nodes=0, with_parent=with_parent)
    node = Node(data, cluster)
    try:
        process.start(_containerd(data), with_parent)
        with step("importing images"):
            for archive in archives:
                node.import_image(archive)
        process.start(_kubelet(node, memory_bytes), with_parent)
    except BaseException:
        stop(data)
        raise
    return node


def install() -> list[Path]:
    """Builds what a node needs; returns the archives of its images. Raises ServerError."""
    build.kube()
    return [_pause(), worker_image.build(), worker_image.build_legacy()]


def find(data: Path) -> Node | None:
    """The running node of this folder, or None."""
    cluster = kubernetes.find(data.resolve() / "cluster")
    running = process.running(data.resolve() / "kubelet") is not None
    return Node(data.resolve(), cluster) if cluster is not None and running else None


def stop(data: Path, grace_seconds: float = 5.0) -> bool:
    """Ends the node, its pods and its control plane; returns whether anything was running. Data stay.

    Raises ServerError when something of it cannot be ended; the next start of a node tries it again.
    """
    data = data.resolve()
    found = process.stop(data / "kubelet", grace_seconds)
    cgroup = _cgroup(data)
    found = bool(cgroups.processes(cgroup)) or found
    # Pods first: while containerd lives it takes note of their ends. Whatever stays must not keep the rest alive.
    with contextlib.suppress(ServerError):
        cgroups.remove(cgroup)
    found = process.stop(data / "containerd", grace_seconds) or found
    shims = [shim for shim in psutil.process_iter(["cmdline"]) if _is_shim_of(shim, data)]
    for shim in shims:
        with contextlib.suppress(psutil.NoSuchProcess):
            shim.kill()
    psutil.wait_procs(shims, timeout=10)
    found = kubernetes.stop(data / "cluster", grace_seconds) or found
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{data}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
    cgroups.remove(cgroup)  # a container that was being started meanwhile
    with _register() as folder:
        (folder / f"{cgroup}.json").unlink(missing_ok=True)
    return found


def remove(data: Path) -> None:
    """Ends the node and removes its folder."""
    stop(data, grace_seconds=0)
    shutil.rmtree(data, ignore_errors=True)


def reap() -> None:
    """Ends what is left of nodes that are gone, however they went and whatever became of their folders.

    A node lives as long as the process that started it, or its kubelet. Folders of tests (`with_parent`) are removed.
    """
    with _register() as folder:
        entries = [json.loads(file.read_text()) for file in folder.glob("*.json")]
    for entry in entries:
        data = Path(entry["data"])
        if not _lives(entry["pid"], entry["created"]) and process.running(data / "kubelet") is None:
            try:
                (remove if entry["temporary"] else stop)(data)
            except ServerError as error:  # no reason not to start another one
                say(f"  ! {error}")


def register(data: Path, temporary: bool) -> None:
    """Notes that this process starts a node, before anything of it exists that could be left behind."""
    this = psutil.Process()
    entry = {"data": str(data), "pid": this.pid, "created": this.create_time(), "temporary": temporary}
    with _register() as folder:
        file = folder / f"{_cgroup(data)}.json"
        file.with_suffix(".new").write_text(json.dumps(entry))
        file.with_suffix(".new").rename(file)


@contextlib.contextmanager
def _register() -> Iterator[Path]:
    """Outside of the nodes' folders, so that what a node leaves is found when its folder is gone."""
    with locked("nodes") as folder:
        yield folder


def _lives(pid: int, created: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - created) < 1
    except psutil.Error:
        return False


def _cgroup(data: Path) -> str:
    return f"spinner-node-{hashlib.blake2b(str(data).encode(), digest_size=4).hexdigest()}"


def _is_shim_of(candidate: psutil.Process, data: Path) -> bool:
    arguments: Sequence[str] = candidate.info["cmdline"] or ()
    return bool(arguments) and "containerd-shim" in arguments[0] and f"{data}/containerd/socket" in arguments


def _pause() -> Path:
    source = Path(__file__).with_name("data") / "pause"
    identity = hashlib.sha256((source / "main.go").read_bytes()).hexdigest()[:12]
    with locked("images") as folder:
        archive = folder / f"pause-{identity}.image.tar"
        if not archive.exists():
            tree = folder / "pause"
            tree.mkdir(exist_ok=True)
            command = [build.go(), "build", "-C", str(source), "-buildvcs=false", "-trimpath", "-ldflags=-s -w"]
            run([*command, "-o", str(tree / "pause"), "."], folder / "pause.log", {"CGO_ENABLED": "0"})
            layer = pack_layer(tree, folder / "pause.tar")
            write_archive(Image(PAUSE, [layer], ["/pause"]), archive)
    return archive


def _containerd(data: Path) -> Launch:
    containerd = debian("containerd", "containerd runc containernetworking-plugins")
    folder = data / "containerd"
    (folder / "cni").mkdir(parents=True, exist_ok=True)
    (folder / "cni" / "10-loopback.conflist").write_text(
        json.dumps({"cniVersion": "0.4.0", "name": "loopback", "plugins": [{"type": "loopback"}]})
    )
    disabled = ", ".join(f'"io.containerd.snapshotter.v1.{each}"' for each in ("btrfs", "zfs", "aufs", "devmapper"))
    # Debian's containerd 1.6. Lower oom scores than the caller's are refused in a container, hence the restriction.
    (folder / "config.toml").write_text(f"""version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [{disabled}]
[grpc]
  address = "{folder}/socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{_CNI}"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
""")

    def ready() -> bool:
        try:
            _ctr(data, "version")
        except ServerError:
            return False
        return True

    return Launch(
        name="containerd",
        command=[containerd, "-c", str(folder / "config.toml")],
        data=folder,
        log=folder / "log",
        address=f"{folder}/socket",
        ready=ready,
    )


def _ctr(data: Path, *arguments: str) -> None:
    command = ["ctr", "--address", f"{data}/containerd/socket", "--namespace", "k8s.io", *arguments]
    run(command, data / "containerd" / "ctr.log")


def _memory(memory_bytes: int) -> dict[str, object]:
    """Settings of a kubelet whose node has so much memory for pods: the rest is reserved for the system.

    The kubelet enforces it as in production ("node allocatable"): it evicts when the control group of all pods has less
    than the threshold left, and the kernel kills at its limit.
    https://kubernetes.io/docs/tasks/administer-cluster/reserve-compute-resources/
    """
    reserved = psutil.virtual_memory().total - memory_bytes - _HEADROOM_BYTES
    if reserved < 0:
        raise ServerError(f"This machine has less memory than the {memory_bytes >> 20} MiB that its node is to have.")
    return {
        "systemReserved": {"memory": str(reserved)},
        "evictionHard": {
            "memory.available": str(_HEADROOM_BYTES), "nodefs.available": "1%", "imagefs.available": "1%"
        },
        # The pressure, and with it the node's taint, is over so long after the memory is free again.
        "evictionPressureTransitionPeriod": "1s",
    }  # fmt: skip


def _kubelet(node: Node, memory_bytes: int) -> Launch:
    data, folder = node.data, node.data / "kubelet"
    folder.mkdir(exist_ok=True)
    cgroup = _cgroup(data)
    cgroups.make(cgroup, divided=True)
    configuration: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": free_port(10250),
        "readOnlyPort": 0,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": free_port(10348),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(node.cluster.ca)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{data}/containerd/socket",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "resolvConf": "",
        "podLogsDir": f"{data}/pods",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageMinimumGCAge": "24h",
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "serializeImagePulls": False,
        "maxPods": 250,
    } | (_memory(memory_bytes) if memory_bytes else {})
    (folder / "config.json").write_text(json.dumps(configuration))
    name = node.cluster.node

    def ready() -> bool:
        try:
            conditions = node.cluster.request("GET", f"/api/v1/nodes/{name}")["status"].get("conditions", ())
        except OSError:
            return False
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    return Launch(
        name="kubelet",
        command=[
            str(build.kube()), "kubelet", "--config", str(folder / "config.json"),
            "--kubeconfig", str(node.cluster.kubelet_kubeconfig), "--root-dir", str(folder / "root"),
            "--hostname-override", name, "--cert-dir", str(folder / "certificates"),
        ],
        data=folder,
        log=folder / "log",
        address=f"node {name}",
        ready=ready,
        ready_seconds=90.0,
    )  # fmt: skip
