"""A log is read, published and uploaded in pieces that never show a secret nor disagree on offsets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spinner_eventlog.interface import Outgoing
from spinner_executor.adapters.logs import CHUNK, TOPIC_CAP, TryLog
from spinner_executor.domain.masking import Masker
from spinner_proto.common.v1.common_pb2 import TryKey
from spinner_proto.logs.v1.logs_pb2 import TaskLogChunk


class Store:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, key: str, data: bytes) -> None:
        self.objects[key] = data

    def put_file(self, key: str, path: Path) -> None:
        self.objects[key] = path.read_bytes()


def _log(folder: Path, *secrets: str) -> TryLog:
    return TryLog(folder / "log", "d/r/t/-1/1", TryKey(dag_id="d"), "task_logs-spinner", Masker(secrets))


def _chunks(log: TryLog, final: bool) -> list[TaskLogChunk]:
    sent: list[Outgoing] = []
    log.publish(sent.append, final)
    return [outgoing.value for outgoing in sent]  # type: ignore[misc]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.sampled_from([b"plain\n", b"hunter22\n", b"xhunter22y", b"\n", b"\xff\xc3"]), max_size=20))
def test_reading_in_pieces_is_reading_the_whole(tmp_path: Path, parts: list[bytes]) -> None:
    text = b"".join(parts)
    log = _log(tmp_path, "hunter22")
    log.path.write_bytes(text)
    pieces = b""
    while piece := log.read(len(pieces), 24, final=True):
        pieces += piece
    assert len(pieces) == len(text)
    assert b"hunter22" not in pieces
    assert pieces.count(b"*" * 8) == text.count(b"hunter22")


def test_chunks_are_whole_lines_in_order_until_the_final_one(tmp_path: Path) -> None:
    log = _log(tmp_path)
    log.path.write_bytes(b"one\ntw")
    (first,) = _chunks(log, final=False)
    assert (first.offset, first.text, first.final) == (0, b"one\n", False)
    assert _chunks(log, final=False) == []
    log.append(log.size(), b"o")
    (last,) = _chunks(log, final=True)
    assert (last.offset, last.text, last.final) == (4, b"two", True)
    assert _chunks(log, final=True) == []


def test_a_next_owner_goes_on_where_the_topic_is(tmp_path: Path) -> None:
    log = _log(tmp_path)
    log.path.write_bytes(b"one\n")
    _chunks(log, final=False)
    log.append(log.size(), b"two\n")
    (chunk,) = _chunks(_log(tmp_path), final=True)
    assert (chunk.offset, chunk.text, chunk.final) == (4, b"two\n", True)


def test_a_huge_log_is_capped_on_the_topic_and_whole_in_the_store(tmp_path: Path) -> None:
    log, store = _log(tmp_path, "secret99"), Store()
    line = b"x" * 99 + b"\n"
    log.path.write_bytes(line * 40_000 + b"secret99\n")
    chunks = _chunks(log, final=True)
    assert sum(len(chunk.text) for chunk in chunks) <= TOPIC_CAP
    assert all(len(chunk.text) <= CHUNK for chunk in chunks)
    assert chunks[-1].final
    assert [chunk.offset for chunk in chunks[1:]] == [chunk.offset + len(chunk.text) for chunk in chunks[:-1]]
    assert log.upload(store, "k") == len(line) * 40_000 + 9
    assert store.objects["k"].endswith(b"********\n")
    assert len(store.objects["k"]) == log.size()


def test_text_of_remote_workers_is_kept_once_in_order_and_after_that_of_earlier_segments(tmp_path: Path) -> None:
    log = _log(tmp_path)
    assert log.append(0, b"one\ntwo\n") == 8
    assert log.append(4, b"two\nthree\n") == 14  # sent again
    assert log.append(99, b"later\n") == 14  # a gap: to be sent from 14
    log.begin_worker()
    assert log.append(0, b"second segment\n") == 15
    again = _log(tmp_path)  # a next executor with the same folder
    assert again.append(15, b"end\n") == 19
    assert log.path.read_bytes() == b"one\ntwo\nthree\nsecond segment\nend\n"


@pytest.mark.parametrize(
    ("sent", "kept", "whole"),
    [
        (b"one\n", b"one\nlast words\n", b"one\nlast words\n"),
        (b"", b"all of it\n", b"all of it\n"),
        (b"one\ntwo\n", b"one\n", b"one\ntwo\n"),
        (b"one\ntwo\n", b"two\nthree\n", b"one\ntwo\n\n[from here on the log as the node kept it]\ntwo\nthree\n"),
    ],
)
def test_what_a_dead_worker_did_not_send_comes_from_its_node(
    tmp_path: Path, sent: bytes, kept: bytes, whole: bytes
) -> None:
    log = _log(tmp_path)
    log.append(0, sent)
    offset = 0
    for piece in (kept[:6], kept[6:]):
        log.complete(offset, piece)
        offset += len(piece)
    assert log.path.read_bytes() == whole
