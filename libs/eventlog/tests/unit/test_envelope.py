"""Traces of records."""

from __future__ import annotations

from spinner_eventlog.envelope import traces_by_key
from spinner_eventlog.interface import Record


def test_traces_belong_to_their_keys_and_to_all_when_shared():
    def record(key: str, trace: str | None = None) -> Record:
        return Record("t", 0, 0, 0, key, None, {"traceparent": trace} if trace else {})

    assert traces_by_key([record("a", "1"), record("b", "1"), record("c")]) == {"a": "1", "b": "1", "": "1"}
    assert traces_by_key([record("a", "1"), record("b", "2"), record("a", "1")]) == {"a": "1", "b": "2"}
    assert traces_by_key([record("a", "1"), record("a", "2"), record("b", "2")]) == {"b": "2"}
    assert traces_by_key([record("a")]) == {}
