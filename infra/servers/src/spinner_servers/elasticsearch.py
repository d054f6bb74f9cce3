"""A single-node Elasticsearch from Maven's integ-test distribution.

It is the real server with few modules: CRUD, bulk, full text, highlight and the common aggregations work;
`GET /`, update/delete by query, ingest, ILM and language analyzers are absent, so clients must check health by
`_cluster/health` instead of `ping()`. It refuses to run as root, so root starts it as `nobody`.
"""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from spinner_servers.install import java, locked, run, tool
from spinner_servers.process import Launch
from spinner_servers.progress import step

VERSION = "8.19.21"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


def prepare(data: Path, port: int, transport_port: int) -> Launch:
    """Installs Elasticsearch if needed and writes its configuration into `data`. Blocks; raises ServerError."""
    distribution = install()
    configuration = data / "config"
    shutil.rmtree(configuration, ignore_errors=True)
    for name in ("tables", "logs", "temporary"):
        (data / name).mkdir(parents=True, exist_ok=True)
    shutil.copytree(distribution / "config", configuration)
    settings = {
        "cluster.name": "spinner",
        "node.name": "spinner-1",
        "path.data": data / "tables",
        "path.logs": data / "logs",
        "network.host": "127.0.0.1",
        "http.port": port,
        "transport.port": transport_port,
        "discovery.type": "single-node",
        "xpack.security.enabled": "false",
        "cluster.routing.allocation.disk.threshold_enabled": "false",
    }
    (configuration / "elasticsearch.yml").write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    _write_jvm_options(configuration)
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        for path in [data, *data.rglob("*")]:
            shutil.chown(path, user)
    return Launch(
        name="Elasticsearch",
        command=[str(distribution / "bin" / "elasticsearch")],
        data=data,
        log=data / "elasticsearch.log",
        address=f"127.0.0.1:{port}",
        ready=lambda: _is_yellow(port),
        environment={
            "ES_JAVA_HOME": str(Path(java()[0]).resolve().parent.parent),
            "ES_PATH_CONF": str(configuration),
            "ES_TMPDIR": str(data / "temporary"),
            "HOME": str(data),
        },
        user=user,
        ready_seconds=120,
    )


def install() -> Path:
    """Fetches and unpacks the distribution once. Returns its folder."""
    with locked(f"elasticsearch-{VERSION}") as folder:
        distribution = folder / f"elasticsearch-{VERSION}"
        if not distribution.exists():
            maven = tool("mvn", "maven", "maven")
            artifact = f"-Dartifact=org.elasticsearch.distribution.integ-test-zip:elasticsearch:{VERSION}:zip"
            part = folder / "part"
            with step(f"fetching Elasticsearch {VERSION} from Maven"):
                shutil.rmtree(part, ignore_errors=True)
                run([maven, "-q", "-B", _COPY, artifact, f"-DoutputDirectory={part}"], folder / "maven.log")
                with zipfile.ZipFile(part / f"elasticsearch-{VERSION}.zip") as archive:
                    archive.extractall(part)
                for program in (part / distribution.name / "bin").iterdir():
                    program.chmod(0o755)
                (part / distribution.name).rename(distribution)
                shutil.rmtree(part)
        return distribution


def _write_jvm_options(configuration: Path) -> None:
    options = configuration / "jvm.options"
    kept = [line for line in options.read_text().splitlines() if "UseG1GC" not in line and "-Xlog:gc" not in line]
    options.write_text("\n".join([*kept, "-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", ""]))


def _is_yellow(port: int) -> bool:
    health = f"http://127.0.0.1:{port}/_cluster/health?wait_for_status=yellow&timeout=1s"
    try:
        with urllib.request.urlopen(health, timeout=3) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False
