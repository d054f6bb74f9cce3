"""An S3 server: MinIO, built once from its Go module; moto's in-process imitation only where Go is missing.

Building takes some minutes on two cores, so the binary is cached. `kind()` says which of the two one gets.
"""

from __future__ import annotations

import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal

from spinner_servers.install import cache_folder, locked, run
from spinner_servers.process import Launch
from spinner_servers.progress import say, step

VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
ACCESS_KEY, SECRET_KEY = "spinner-local", "spinner-local-secret"


def kind() -> Literal["minio", "moto"]:
    """`minio` where it is built or Go can build it, otherwise `moto`, which checks neither signatures nor races."""
    return "minio" if _go() or _binary_if_built() else "moto"


def prepare(data: Path, port: int) -> Launch:
    """Installs the server if needed. Blocks (minutes for MinIO's first build); raises ServerError."""
    (data / "objects").mkdir(parents=True, exist_ok=True)
    if kind() == "minio":
        name, path = "MinIO", "/minio/health/ready"
        command = [str(install()), "server", "--quiet", "--address", f"127.0.0.1:{port}", str(data / "objects")]
    else:
        say("  ! Go is missing, so the S3 server is moto, an imitation: signatures and races are not checked.")
        name, path = "S3 imitation (moto)", "/moto-api/"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    return Launch(
        name=name,
        command=command,
        data=data,
        log=data / "s3.log",
        address=f"127.0.0.1:{port}",
        ready=lambda: _is_ready(f"http://127.0.0.1:{port}{path}"),
        environment={
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_CI_CD": "1",  # accepts a folder on the system disk
            "GOMEMLIMIT": "400MiB",
        },
    )


def install() -> Path:
    """Builds MinIO once. Returns the binary."""
    with locked(f"minio-{VERSION}") as folder:
        if (built := _binary_if_built()) is not None:
            return built
        with step("building MinIO from its Go module (a few minutes, once)"):
            environment = {"GOBIN": str(folder), "CGO_ENABLED": "0", "GOFLAGS": "-p=2"}
            run([_go() or "go", "install", f"github.com/minio/minio@{VERSION}"], folder / "go.log", environment)
        return folder / "minio"


def _go() -> str | None:
    return shutil.which("go")


def _binary_if_built() -> Path | None:
    binary = cache_folder() / f"minio-{VERSION}" / "minio"
    return binary if binary.exists() else None


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310 - a loopback address of ours
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False
