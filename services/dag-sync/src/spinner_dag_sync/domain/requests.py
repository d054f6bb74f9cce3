"""What schedulers ask of custom timetables, by DAG: the runs after an interval, and answers that commands wait for.

A request stays until another takes its place: whoever reads the DAG's file again begins there, and not at the start.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from spinner_proto.definitions.v1.definitions_pb2 import TimetableRequest


class Requests:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_dag: dict[str, TimetableRequest] = {}
        self._by_file: dict[tuple[str, str], set[str]] = {}

    def take(self, dag_id: str, request: TimetableRequest | None) -> None:
        """Notes a DAG's latest request, or that there is none any more."""
        with self._lock:
            known = self._by_dag.pop(dag_id, None)
            if known is not None:
                self._by_file[known.bundle, known.relative_path].discard(dag_id)
            if request is not None:
                self._by_dag[dag_id] = request
                self._by_file.setdefault((request.bundle, request.relative_path), set()).add(dag_id)

    def of_file(self, bundle: str, path: str, dag_ids: Iterable[str] = ()) -> dict[str, TimetableRequest]:
        """Returns the requests by DAG id for the DAGs of a file: `dag_ids`, and what schedulers say is in it."""
        with self._lock:
            wanted = {*dag_ids, *self._by_file.get((bundle, path), ())}
            return {dag_id: self._by_dag[dag_id] for dag_id in sorted(wanted & self._by_dag.keys())}


def asks_more(asked: TimetableRequest, wanted: TimetableRequest) -> bool:
    """Whether there is something in `wanted` that was not in `asked`."""
    begins, known = (wanted.after_start, wanted.after_end), {question.request_id for question in asked.questions}
    return begins != (asked.after_start, asked.after_end) or any(
        question.request_id not in known for question in wanted.questions
    )
