"""A real HashiCorp Vault in memory: its core and HTTP API, with key-value engines and AppRole.

Built once from its Go modules (the module beside this file pins them, four minutes on two cores); the binary is cached.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from spinner_servers.install import cache_folder, locked, run
from spinner_servers.kubernetes import build
from spinner_servers.process import ServerError
from spinner_servers.progress import step

VERSION = "v1.21.4"
_MODULE = Path(__file__).with_name("module")
_READY_SECONDS = 60.0


def is_built() -> bool:
    """Whether the binary is in the cache."""
    return _binary().exists()


def install() -> Path:
    """Builds the binary if needed (minutes); returns it. Raises ServerError."""
    binary = _binary()
    if binary.exists():
        return binary
    with locked(binary.parent.name) as folder:
        if not binary.exists():
            with step(f"building Vault {VERSION} from its Go modules (minutes, once)"):
                fresh = folder / "vault.new"
                command = [
                    build.go(), "build", "-C", str(_MODULE), "-trimpath", "-ldflags", "-s -w", "-o", str(fresh), ".",
                ]  # fmt: skip
                environment = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -p=2 -mod=readonly"}
                run(command, folder / "vault.log", environment)
                fresh.replace(binary)
    return binary


def _binary() -> Path:
    content = b"".join((_MODULE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))
    return cache_folder() / f"vault-{VERSION}-{hashlib.sha256(content).hexdigest()[:12]}" / "vault"


class Vault:
    """A started one, unsealed; `token` is its root's. `close` ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([str(install()), "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None  # noqa: S101 - PIPE was asked for
        self.url = f"http://{self._process.stdout.readline().strip()}"
        self.token = ""
        made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.token, self._key = made["root_token"], made["keys"][0]
        self.unseal()

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """One call of its API as root; returns the answer. Raises urllib.error.HTTPError."""
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.url}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": self.token} if self.token else {},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own server
            text = answer.read()
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    def unseal(self) -> None:
        """Unseals it; blocks until it serves."""
        self.call("PUT", "sys/unseal", {"key": self._key})
        deadline = time.monotonic() + _READY_SECONDS
        while not self._serves():
            if time.monotonic() > deadline:
                raise ServerError(f"Vault at {self.url} did not serve within {_READY_SECONDS:.0f} s")
            time.sleep(0.05)

    def _serves(self) -> bool:
        try:
            self.call("GET", "sys/health")
        except urllib.error.HTTPError:
            return False
        return True

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
