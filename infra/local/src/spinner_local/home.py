"""The stack's folder: where everything is, and what is remembered between runs (`state.json`)."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from spinner_servers.process import accepts, free_port

PORTS = {
    "kafka": 19092,
    "kafka-controller": 19093,
    "webgateway": 8080,
    "webgateway-grpc": 50050,
    "scheduler": 50051,
    "executor": 50052,
    "dag-sync": 50053,
    "token-fetcher": 50054,
    "rca": 50055,
}


@dataclass
class State:
    """What a home remembers. `marker` is in the environment of every process of its stack."""

    ports: dict[str, int] = field(default_factory=dict)
    marker: str = field(default_factory=lambda: secrets.token_hex(8))
    supervisor_pid: int = 0
    supervisor_created: float = 0.0


class Home:
    """Paths and memory of one stack. Makes nothing until asked."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @classmethod
    def default(cls) -> Home:
        """SPINNER_HOME; else `.spinner` of the repository around the working folder; else `.spinner` here."""
        if stated := os.environ.get("SPINNER_HOME"):
            return cls(Path(stated))
        return cls((repository() or Path.cwd()) / ".spinner")

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def kafka(self) -> Path:
        return self.root / "kafka"

    @property
    def run(self) -> Path:
        """Short-lived files: readiness marks, status files, the supervisor's configuration."""
        return self.root / "run"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def topics_ready(self) -> Path:
        """Exists once all topics exist on the broker that was started last."""
        return self.run / "topics-ready"

    @property
    def socket(self) -> Path:
        """Where supervisord listens. Unix sockets allow about 100 characters, so a deep home gets one elsewhere."""
        inside = self.run / "supervisor.sock"
        if len(os.fsencode(inside)) < 100:
            return inside
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"spinner-{os.getuid()}-{name}.sock"

    def status_file(self, service: str) -> Path:
        return self.run / f"{service}.json"

    def make(self) -> None:
        """Makes the folders, readable by the owner only."""
        for folder in (self.root, self.logs, self.kafka, self.run, self.objects):
            folder.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One `up` or `down` at a time."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def load(self) -> State:
        """What is remembered; a fresh State when nothing is, or when the file is damaged."""
        try:
            return State(**json.loads((self.root / "state.json").read_text()))
        except (OSError, ValueError, TypeError):
            return State()

    def save(self, state: State) -> None:
        """Replaces the memory in one step."""
        part = self.root / "state.json.part"
        part.write_text(json.dumps(asdict(state), indent=1))
        part.replace(self.root / "state.json")

    def secret_key(self) -> str:
        """The Fernet key of this home, made on first use, readable by the owner only."""
        path = self.root / "secret.key"
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(base64.urlsafe_b64encode(secrets.token_bytes(32)))
        return path.read_text().strip()


def choose_ports(remembered: dict[str, int], preferred: dict[str, int] | None = None) -> dict[str, int]:
    """A free port for each of PORTS: the remembered one if it is still free, else the next free one.

    Call only while the stack is down: its own listeners would look taken.
    """
    chosen: dict[str, int] = {}
    for name, default in (preferred or PORTS).items():
        wanted = remembered.get(name, default)
        busy = wanted in chosen.values() or accepts(wanted)
        chosen[name] = free_port(wanted + busy, taken=list(chosen.values()))
    return chosen


def repository() -> Path | None:
    """The checkout that this package is installed from, or the one around the working folder."""
    for start in (Path.cwd(), Path(__file__).parent):
        for folder in (start, *start.parents):
            if (folder / "services" / "webgateway").is_dir() and (folder / "pyproject.toml").is_file():
                return folder
    return None
