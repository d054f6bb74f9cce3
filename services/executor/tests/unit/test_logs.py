"""A log is read, published and uploaded in pieces that never show a secret nor disagree on offsets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spinner.runtime.boundedlog import Bounds, gap_of
from spinner_eventlog.interface import Outgoing
from spinner_executor.adapters.logs import CHUNK, NODE_MARK, TOPIC_CAP, TOPIC_TAIL, Piece, TryLog
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


SMALL = Bounds(100_000, 50_000)
LINES = b"".join(b"this is line %d\n" % n for n in range(60_000))


def _log(folder: Path, *secrets: str, bounds: Bounds | None = None) -> TryLog:
    return TryLog(folder / "log", "d/r/t/-1/1", TryKey(dag_id="d"), "task_logs-spinner", Masker(secrets), bounds)


def _pieces(log: TryLog, offset: int) -> Iterator[Piece]:
    while (piece := log.read(offset, 30_000, final=True)).text:
        yield piece
        offset = piece.following


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
    while piece := log.read(len(pieces), 24, final=True).text:
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


def test_a_long_log_has_its_beginning_and_end_on_the_topic_and_is_whole_in_the_store(tmp_path: Path) -> None:
    log, store = _log(tmp_path, "secret99"), Store()
    line = b"x" * 99 + b"\n"
    log.path.write_bytes(line * 40_000 + b"secret99\n")
    chunks = _chunks(log, final=True)
    assert sum(len(chunk.text) for chunk in chunks) <= TOPIC_CAP + TOPIC_TAIL
    assert all(len(chunk.text) <= CHUNK for chunk in chunks)
    assert [chunk.final for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].text.endswith(line + b"********\n")
    ends = [chunk.offset + len(chunk.text) for chunk in chunks]
    jumps = [(end, chunk.offset) for end, chunk in zip(ends, chunks[1:], strict=False) if end != chunk.offset]
    assert len(jumps) == 1 and jumps[0][1] % 100 == 0 and ends[-1] == log.size()
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
        (b"one\ntwo\n", b"two\nthree\n", b"one\ntwo\n" + NODE_MARK + b"two\nthree\n"),
        # The kubelet has rotated the container's log.
        (LINES[:900_000], LINES[400_000:], LINES),
        (LINES[:900_000], LINES[899_000:], LINES),
        (LINES, LINES[400_000:900_000], LINES),
        (LINES[:100_000], LINES[400_000:], LINES[:100_000] + NODE_MARK + LINES[400_000:]),
        (b"y\n" * 400_000, b"y\n" * 500_000, b"y\n" * 500_000),
    ],
)
def test_what_a_dead_worker_did_not_send_comes_from_its_node(
    tmp_path: Path, sent: bytes, kept: bytes, whole: bytes
) -> None:
    log = _log(tmp_path)
    log.append(0, sent)
    _take(log, kept)
    assert log.path.read_bytes() == whole
    assert {path.name for path in tmp_path.iterdir()} <= {"log", "gap"}


def _take(log: TryLog, kept: bytes) -> None:
    node = log.node_log("w-1")
    for piece in (kept[:6], kept[6:]):
        node.take(piece)
    node.join()


def _node_copy(*steps: tuple[int, int]) -> bytes:
    """What a node has of LINES, copied in these steps (from one byte to another)."""
    copy, at = b"", 0
    for begin, end in steps:
        if begin != at:
            ends = [LINES[:offset].count(b"\n") for offset in (at, begin)]
            copy += (
                f"\n[2026-11-27T08:00:00.123Z] {{TaskExecStage}} WARNING spinner.log.node: the node's copy of this log "
                f"stops at byte {at} (line {ends[0]}) and goes on at byte {begin} (line {ends[1]}); Spinner has more "
                f"of w-1\n"
            ).encode()
        copy += LINES[begin:end]
        at = end
    return copy


def _line(at: int) -> int:
    return LINES.index(b"\n", at) + 1


@pytest.mark.parametrize("rotated", [0, 70_001])
@pytest.mark.parametrize(
    ("sent", "steps"),
    [
        # All that is missing is there, whether or not the copy went back to it.
        (250_000, [(0, 100_003), (_line(200_000), len(LINES))]),
        (300_000, [(0, 100_003), (_line(500_000), _line(600_000)), (_line(200_000), len(LINES))]),
        (len(LINES), [(0, 100_003), (_line(500_000), _line(600_000))]),
        (90_000, [(0, 100_000), (_line(50_000), len(LINES))]),
    ],
)
def test_a_copy_with_marks_is_joined_byte_by_byte(
    tmp_path: Path, sent: int, steps: list[tuple[int, int]], rotated: int
) -> None:
    log = _log(tmp_path)
    log.append(0, LINES[:sent])
    _take(log, _node_copy(*steps)[rotated:])
    assert log.path.read_bytes() == LINES and gap_of(log.path) is None


def test_what_neither_has_is_counted(tmp_path: Path) -> None:
    log = _log(tmp_path)
    log.append(0, LINES[:150_000])
    begin, again = _line(200_000), _line(800_000)
    _take(log, _node_copy((0, 100_003), (begin, 700_000), (again, len(LINES))))
    gap = gap_of(log.path)
    assert gap is not None and gap.end == again
    assert gap.lines == LINES[gap.start : again].count(b"\n")
    assert log.path.read_bytes()[again:] == LINES[again:]


def test_a_mark_of_another_log_is_text(tmp_path: Path) -> None:
    log = _log(tmp_path)
    text = _node_copy((0, 1000), (_line(500_000), _line(510_000))).replace(b"w-1", b"w-2")
    log.append(0, text[:500])
    _take(log, text)
    assert log.path.read_bytes() == text


def test_a_log_over_its_bounds_is_one_text_with_a_mark_from_any_offset_and_in_the_store(tmp_path: Path) -> None:
    log, store = _log(tmp_path, "secret99", bounds=SMALL), Store()
    log.path.write_bytes(LINES)
    log.trim()
    gap = gap_of(log.path)
    assert gap is not None and LINES[gap.start - 1 : gap.start] == LINES[gap.end - 1 : gap.end] == b"\n"
    assert gap.lines == LINES[gap.start : gap.end].count(b"\n")
    assert log.path.stat().st_blocks * 512 <= SMALL.longest + 8192
    text = b"".join(piece.text for piece in _pieces(log, 0))
    head, mark, tail = LINES[: gap.start], gap.mark(SMALL).encode(), LINES[gap.end :]
    assert text == head + mark + tail
    assert f"{gap.end - gap.start:,} bytes ({gap.lines:,} lines) are left out".encode() in mark
    assert len(tail) >= SMALL.tail
    for offset in (gap.start, gap.start + 1, gap.end - 1):
        assert b"".join(piece.text for piece in _pieces(log, offset)) == mark + tail
    assert log.upload(store, "k") == len(text) == log.length()
    assert store.objects["k"] == text
    # It goes on: the gap grows, and what was left out before is still counted.
    with log.path.open("ab") as file:
        file.write(LINES)
    log.trim()
    more = gap_of(log.path)
    assert more is not None and (more.start, more.lines) == (gap.start, (LINES * 2)[more.start : more.end].count(b"\n"))


def test_a_gap_inside_a_line_shows_no_half_of_a_secret(tmp_path: Path) -> None:
    log = _log(tmp_path, "secret99", bounds=SMALL)
    log.path.write_bytes(b"secret99" * 100_000)
    log.trim()
    text = b"".join(piece.text for piece in _pieces(log, 0))
    assert b"ecr" not in text and text.count(b"\n") == 2
    log.path.unlink()
    (tmp_path / "gap").unlink()
    log.path.write_bytes(b"x" * (SMALL.head - 4) + b"secret99" + b"y" * SMALL.longest_end + b"secret99" + b"z" * 9000)
    log.trim()
    gap = gap_of(log.path)
    assert gap is not None and gap.start == SMALL.head
    assert b"secr" not in b"".join(piece.text for piece in _pieces(log, 0))


def test_a_reader_never_sees_the_hole_while_the_log_is_written_and_cut(tmp_path: Path) -> None:
    log = _log(tmp_path, bounds=SMALL)
    log.path.touch()
    done = threading.Event()

    def write() -> None:
        with log.path.open("ab") as file:
            for _ in range(60):
                file.write(LINES[: 64 * 1024])
                file.flush()
                log.trim()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not done.is_set():
            for piece in _pieces(log, 0):
                assert b"\0" not in piece.text
    finally:
        writer.join()


def test_a_remote_worker_that_left_text_out_is_followed_with_the_right_counts(tmp_path: Path) -> None:
    log = _log(tmp_path, bounds=SMALL)
    log.append(0, b"an earlier segment\n")
    log.begin_worker()
    sent = LINES[: SMALL.head]
    assert log.append(0, sent) == len(sent)
    at = LINES.index(b"\n", 700_000) + 1
    assert log.append(at, LINES[at:], skipped=True, line_ends_before=LINES[:at].count(b"\n")) == len(LINES)
    again = _log(tmp_path, bounds=SMALL)
    assert again.append(len(LINES), b"the end\n") == len(LINES) + 8
    gap = gap_of(log.path)
    assert gap is not None
    text = b"".join(piece.text for piece in _pieces(again, 0))
    assert text.startswith(b"an earlier segment\n") and text.endswith(LINES[-1000:] + b"the end\n")
    assert text.count(b"\n") - 1 + gap.lines == LINES.count(b"\n") + 2


def test_an_unfinished_line_waits_for_its_end(tmp_path: Path) -> None:
    log = _log(tmp_path, "secret99")
    log.path.write_bytes(b"one\nthe key is secr")
    assert log.read(0).text == b"one\n"
    log.append(log.size(), b"et99\n")
    assert log.read(4).text == b"the key is ********\n"
