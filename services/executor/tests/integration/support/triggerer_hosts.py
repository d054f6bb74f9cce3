"""Triggerer services as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

from stage import until


class Hosts:
    """Started ones; all end with `close`."""

    def __init__(self, folder: Path, secret_key: str) -> None:
        self._folder = folder
        self._secret_key = secret_key
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> str:
        """Starts one; returns its address."""
        name = f"triggerer-{uuid.uuid4().hex[:6]}"
        status = self._folder / f"{name}.json"
        environment = os.environ | {
            "SPINNER_TRIGGERER_ADDRESS": "127.0.0.1:0",
            "SPINNER_TRIGGERER_DATA": str(self._folder / name),
            "SPINNER_SECRET_KEY": self._secret_key,
            "SPINNER_STATUS_FILE": str(status),
            "SPINNER_LOG_FORMAT": "console",
        }
        with (self._folder / f"{name}.log").open("wb") as log:
            command = [sys.executable, "-m", "spinner_executor.triggerer"]
            self.processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        until(lambda: status.exists() and '"ready"' in status.read_text(), "the triggerer is ready", 60)
        return str(json.loads(status.read_text())["grpc"])

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
