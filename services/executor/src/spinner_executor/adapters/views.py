"""Views that the executor keeps of others' topics: variables, connections, placements of DAGs.

A thread reads variables, connections and definitions (headers only) from the start; the view answers once it has
caught up. States of runs are in `runs`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken
from spinner_eventlog.interface import EventLog, Poison, Record, Transient
from spinner_proto.common.v1.common_pb2 import Placement
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.portal.v1.portal_pb2 import Connection, Variable

from spinner_executor.domain.credentials import Credentials, Unreadable

_log = logging.getLogger(__name__)
_READY_SECONDS = 60.0


class Follower(threading.Thread):
    """Reads topics to their end, then goes on; `ready` is set at the first end."""

    def __init__(self, name: str, log: EventLog, topics: Sequence[str]) -> None:
        super().__init__(name=name, daemon=True)
        self._log = log
        self._topics = topics
        self._stopping = threading.Event()
        self.ready = threading.Event()
        self.lock = threading.Lock()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except Transient as error:
                _log.warning("%s: cannot read yet: %s", self.name, error)
                time.sleep(0.5)

    def _follow(self) -> None:
        partitions = [(topic, n) for topic in self._topics for n in range(self._log.partition_count(topic))]
        reader = self._log.reader(partitions)
        try:
            while not self._stopping.is_set():
                records = reader.poll(5000, 0.5)
                with self.lock:
                    for record in records:
                        try:
                            self.apply(record)
                        except Poison as poison:
                            _log.warning("%s: %s", self.name, poison)
                    self.applied()
                if not self.ready.is_set() and reader.at_end():
                    self.ready.set()
        finally:
            reader.close()

    def apply(self, record: Record) -> None:
        raise NotImplementedError

    def applied(self) -> None:
        """Called after each batch, which may be empty, with the lock held."""

    def wait_ready(self) -> None:
        """Blocks until the view has caught up once; raises Unreadable after a minute, and when it is stopped."""
        until = time.monotonic() + _READY_SECONDS
        while not self.ready.wait(0.2):
            if self._stopping.is_set():
                raise Unreadable(f"{self.name} cannot be read: the executor stops")
            if time.monotonic() > until:
                raise Unreadable(f"{self.name} could not be read within {_READY_SECONDS:.0f} s; is Kafka there?")

    def stop(self) -> None:
        self._stopping.set()
        if self.is_alive():
            self.join(5)


class SharedView(Follower):
    """Variables, connections and placements. Thread-safe."""

    def __init__(self, log: EventLog, secret_key: str) -> None:
        super().__init__("variables and connections", log, ("variables", "connections", "workflow_definitions"))
        self._fernet = Fernet(secret_key) if secret_key else None
        self._variables: dict[str, Variable] = {}
        self._connections: dict[str, Connection] = {}
        self._placements: dict[str, Placement] = {}
        # Parameters of the latest version, of DAGs that have any.
        self._params: dict[str, str] = {}
        # Where the latest version is.
        self._definitions: dict[str, tuple[int, int]] = {}

    def apply(self, record: Record) -> None:
        if record.topic == "workflow_definitions":
            headers = record.headers
            if record.value is not None and "spinner-dag-id" in headers:
                if "spinner-version" in headers:  # layouts of single runs have none
                    self._definitions[headers["spinner-dag-id"]] = record.partition, record.offset
                self._placements[headers["spinner-dag-id"]] = Placement(
                    cluster=headers["spinner-cluster"],
                    tier=int(headers["spinner-tier"]),
                    partition=int(headers["spinner-partition"]),
                )
                if headers.get("spinner-params") == "1":
                    self._params[headers["spinner-dag-id"]] = record.decode(DagDefinition).params_json
                elif "spinner-params" in headers:
                    self._params.pop(headers["spinner-dag-id"], None)
        elif record.topic == "variables":
            if record.value is None:
                self._variables.pop(record.key, None)
            else:
                self._variables[record.key] = record.decode(Variable)
        elif record.value is None:
            self._connections.pop(record.key, None)
        else:
            self._connections[record.key] = record.decode(Connection)

    def placement(self, dag_id: str) -> Placement | None:
        return self._placements.get(dag_id)

    def params_json(self, dag_id: str) -> str:
        """The parameters of a DAG's latest version; "" when it has none."""
        return self._params.get(dag_id, "")

    def definition(self, dag_id: str) -> DagDefinition | None:
        """A DAG's latest version; None when there is none, or it was written anew just now. Blocks."""
        partition, offset = self._definitions.get(dag_id, (-1, -1))
        if partition < 0:
            return None
        record = next(self._log.read_all("workflow_definitions", partition, offset), None)
        return record.decode(DagDefinition) if record is not None and record.offset == offset else None

    def stored_variable(self, name: str) -> Variable | None:
        return self._variables.get(name)

    def set_local(self, name: str, variable: Variable | None) -> None:
        """What was just written, before the reader comes to it."""
        with self.lock:
            if variable is None:
                self._variables.pop(name, None)
            else:
                self._variables[name] = variable

    def variable(self, name: str) -> str | None:
        """The value, decrypted; None when there is none. Raises Unreadable."""
        found = self._variables.get(name)
        if found is None:
            return None
        return self._decrypt(found.value, f"variable {name}") if found.encrypted else found.value

    def connection(self, connection_id: str) -> Credentials | None:
        """The connection, decrypted. Raises Unreadable."""
        found = self._connections.get(connection_id)
        if found is None:
            return None
        password = self._decrypt(found.encrypted_password, f"password of connection {connection_id}")
        extra = self._decrypt(found.encrypted_extra, f"extra of connection {connection_id}")
        return Credentials(found.type, found.host, found.port, found.schema, found.login, password, extra)

    def encrypt(self, text: str) -> str:
        if self._fernet is None:
            raise Unreadable("secrets cannot be encrypted: SPINNER_SECRET_KEY is not set for the executor")
        return self._fernet.encrypt(text.encode()).decode()

    def _decrypt(self, text: str, what: str) -> str:
        if not text:
            return ""
        if self._fernet is None:
            raise Unreadable(f"{what} is encrypted, but SPINNER_SECRET_KEY is not set for the executor")
        try:
            return self._fernet.decrypt(text.encode()).decode()
        except InvalidToken as error:
            raise Unreadable(f"{what} was encrypted with another key than SPINNER_SECRET_KEY; save it again") from error
