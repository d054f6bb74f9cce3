"""A single-node Kafka (KRaft) from Maven's jars.

Installing resolves the jars, formats a storage template (unformatted storage would come up without
`transaction.version` and `group.version`) and trains a class-data archive that halves later starts. A data
folder gets a copy of the template, so starting costs one JVM.
"""

from __future__ import annotations

import shutil
import socket
import struct
from importlib import resources
from pathlib import Path

from spinner_servers import process
from spinner_servers.install import java, locked, run, tool
from spinner_servers.process import Launch
from spinner_servers.progress import step

VERSION = "4.3.1"
_HEAP = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC")
# The quick compiler alone, and soon: what a broker on a small machine interprets costs more than to compile it. With
# the defaults (200, 100, 2000, 7) its first hundreds of transactions cost 2 ms of CPU more each.
_COMPILER = (
    "-XX:TieredStopAtLevel=1",
    "-XX:Tier3InvocationThreshold=50",
    "-XX:Tier3MinInvocationThreshold=20",
    "-XX:Tier3CompileThreshold=400",
    "-XX:Tier0InvokeNotifyFreqLog=4",
)
_TEMPLATE_FILES = ("meta.properties", "bootstrap.checkpoint")


def prepare(data: Path, port: int, controller_port: int) -> Launch:
    """Installs Kafka if needed, formats `data` if it is new, writes its configuration. Blocks; raises ServerError."""
    folder = install()
    storage = data / "storage"
    storage.mkdir(parents=True, exist_ok=True)
    for name in _TEMPLATE_FILES:
        if not (storage / name).exists():
            shutil.copy(folder / "template" / name, storage / name)
    configuration = data / "server.properties"
    configuration.write_text(_configuration(storage, port, controller_port))
    return Launch(
        name="Kafka",
        command=_java_command(folder, [f"-XX:SharedArchiveFile={_archive(folder)}", "-Xshare:auto"], configuration),
        data=data,
        log=data / "kafka.log",
        address=f"127.0.0.1:{port}",
        ready=lambda: answers(port),
    )


def install() -> Path:
    """Fetches the jars, makes the storage template and the class archive, once. Returns the folder."""
    with locked(f"kafka-{VERSION}") as folder:
        if not (folder / "libs").exists():
            maven = tool("mvn", "maven", "maven")
            with step(f"fetching Kafka {VERSION} from Maven"), resources.as_file(_pom()) as pom:
                part = folder / "libs.part"
                shutil.rmtree(part, ignore_errors=True)
                goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={part}"]
                run([maven, "-q", "-B", "-f", str(pom), *goal], folder / "maven.log")
                part.rename(folder / "libs")
        if not (folder / "template" / "meta.properties").exists():
            _make_template(folder)
        if not _archive(folder).exists():
            _train(folder)
        return folder


def answers(port: int) -> bool:
    """True when a Kafka broker on this loopback port answers an ApiVersions request; raises OSError when none does."""
    with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
        header = struct.pack(">hhih", 18, 0, 1, -1)  # ApiVersions v0, correlation id 1, no client id
        connection.sendall(struct.pack(">i", len(header)) + header)
        answer = connection.recv(10)
        return len(answer) == 10 and answer[4:10] == struct.pack(">ih", 1, 0)


def _pom() -> resources.abc.Traversable:
    return resources.files("spinner_servers") / "data" / "kafka-pom.xml"


def _archive(folder: Path) -> Path:
    return folder / f"classes-{java()[1]}.jsa"


def _java_command(folder: Path, options: list[str], configuration: Path) -> list[str]:
    return [
        java()[0],
        *_HEAP,
        *_COMPILER,
        *options,
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
        "-cp",
        _class_path(folder),
        "kafka.Kafka",
        str(configuration),
    ]


def _class_path(folder: Path) -> str:
    # Sorted and without a wildcard: the class archive is valid for exactly one class path.
    return ":".join(str(jar) for jar in sorted((folder / "libs").glob("*.jar")))


def _make_template(folder: Path) -> None:
    template = folder / "template"
    shutil.rmtree(template, ignore_errors=True)
    template.mkdir()
    configuration = folder / "template.properties"
    configuration.write_text(_configuration(template, 1, 2))
    tool_command = [java()[0], "-cp", _class_path(folder), "kafka.tools.StorageTool"]
    identity = "c3Bpbm5lci1sb2NhbC0wMQ"  # 16 bytes in base64: "spinner-local-01"
    with step("formatting Kafka's storage"):
        run([*tool_command, "format", "-t", identity, "-c", str(configuration)], folder / "format.log")


def _train(folder: Path) -> None:
    data = folder / "training"
    shutil.rmtree(data, ignore_errors=True)
    (data / "storage").mkdir(parents=True)
    for name in _TEMPLATE_FILES:
        shutil.copy(folder / "template" / name, data / "storage" / name)
    port = process.free_port()
    configuration = data / "server.properties"
    configuration.write_text(_configuration(data / "storage", port, process.free_port(taken=[port])))
    with step("training Kafka's class archive, so that later starts are quick"):
        part = folder / "classes.part"
        launch = Launch(
            name="Kafka (training)",
            command=_java_command(folder, [f"-XX:ArchiveClassesAtExit={part}"], configuration),
            data=data,
            log=folder / "training.log",
            address=f"127.0.0.1:{port}",
            ready=lambda: answers(port),
        )
        process.start(launch)
        process.stop(data, grace_seconds=60)
        part.rename(_archive(folder))
    shutil.rmtree(data, ignore_errors=True)


def _configuration(storage: Path, port: int, controller_port: int) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": storage,
        "auto.create.topics.enable": "false",
        # One node: the defaults of 3 replicas would never be reached.
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.num.partitions": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        # KIP-848 groups: with the defaults a rebalance takes 5 s, with these about half a second.
        "group.consumer.min.heartbeat.interval.ms": 200,
        "group.consumer.heartbeat.interval.ms": 500,
        # Schedulers ask for less than the default for their own groups: see ARCHITECTURE.md, "Takeover".
        "group.consumer.min.session.timeout.ms": 1000,
        "group.consumer.session.timeout.ms": 6000,
        # A restart after kill -9 waits for the old lease: 3.7 s instead of 11 s.
        "broker.session.timeout.ms": 2000,
        "broker.heartbeat.interval.ms": 500,
        "metadata.max.idle.interval.ms": 5000,  # how often an idle controller writes that it is there
        "log.cleaner.dedupe.buffer.size": 4_194_304,
        "message.max.bytes": 10_485_760,
        "num.network.threads": 2,
        "num.io.threads": 4,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
