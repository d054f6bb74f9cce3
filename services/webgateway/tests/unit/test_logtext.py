"""Windows of lines, and what lines say."""

from __future__ import annotations

import random

from spinner_webgateway.adapters.linefile import BLOCK, LineIndex
from spinner_webgateway.adapters.logs import Follower
from spinner_webgateway.domain.leftout import NEEDLE, jumps_of
from spinner_webgateway.domain.logtext import MAX_LINE_CHARS, parse_lines

STAMPED = "[2026-11-27T08:00:00.123Z] {TaskExecStage} ERROR etl.load: boom"


def index_of(text: bytes) -> LineIndex:
    index = LineIndex(lambda offset, length: text[offset : offset + length])
    index.extend(len(text))
    return index


def test_every_window_is_what_the_text_has() -> None:
    source = random.Random(7)
    lines = ["x" * source.choice([0, 1, 80, 5000, BLOCK + 3]) + str(n) for n in range(300)]
    text = "\n".join(lines).encode() + b"\n"
    index = index_of(text)
    assert index.lines == 300
    for _ in range(60):
        first, limit = source.randrange(1, 310), source.randrange(1, 40)
        window = index.window(first, limit)
        assert window.lines == lines[first - 1 : first - 1 + limit]
        if window.lines:
            assert text[window.start : window.end].decode() == "\n".join(window.lines) + "\n"
            assert index.line_at(window.start) == first


def test_lines_that_end_at_a_block_boundary_are_found() -> None:
    lines = ["y" * (BLOCK - 1), "z" * (BLOCK - 1), "end"]
    index = index_of(("\n".join(lines) + "\n").encode())
    assert [index.window(n, 1).lines for n in (1, 2, 3, 4)] == [[lines[0]], [lines[1]], ["end"], []]


def test_a_growing_text_is_read_on() -> None:
    text = bytearray(b"one\ntw")
    index = LineIndex(lambda offset, length: bytes(text[offset : offset + length]))
    index.extend(len(text))
    assert (index.lines, index.window(1, 10).lines) == (2, ["one", "tw"])
    text += b"o\nthree\n"
    index.extend(len(text))
    assert (index.lines, index.window(2, 10).lines) == (3, ["two", "three"])


def test_a_stamp_is_taken_apart_and_raw_lines_follow_its_stage() -> None:
    lines, cut, stage = parse_lines([STAMPED, "raw output"], 41, "", set())
    assert not cut
    assert stage == "TaskExecStage"
    assert lines[0] == {
        "line": 41,
        "time": "2026-11-27T08:00:00.123Z",
        "level": "ERROR",
        "stage": "TaskExecStage",
        "logger": "etl.load",
        "text": "boom",
        "critical": True,
    }
    assert (lines[1]["stage"], lines[1]["level"], lines[1]["critical"]) == ("TaskExecStage", "", False)


def test_the_diagnosis_and_tracebacks_are_critical() -> None:
    lines, _, _ = parse_lines(["fine", "Traceback (most recent call last):", "pkg.BadError: x", "named"], 1, "", {4})
    assert [line["critical"] for line in lines] == [False, True, True, True]


def test_an_endless_line_is_cut() -> None:
    lines, cut, _ = parse_lines(["x" * (MAX_LINE_CHARS + 10)], 1, "", set())
    assert cut
    assert len(lines[0]["text"]) < MAX_LINE_CHARS + 100


def test_the_line_that_says_what_is_left_out_is_found_wherever_pieces_are_cut() -> None:
    mark = b"[2026-11-27T08:00:00.000Z] {TaskExecStage} WARNING spinner.log.left_out: 1,000 bytes (10 lines) are\n"
    text = b"".join(b"line %d\n" % n for n in range(100)) + mark + b"tail\n" * 50
    at = text.index(mark)
    for step in (1, 7, 100, 5000):
        index = LineIndex(lambda offset, length: text[offset : offset + length], NEEDLE)
        for size in range(step, len(text) + step, step):
            index.extend(min(size, len(text)))
        assert index.seen == (101, at)
        assert index.window(101, 1).lines == [mark.decode().rstrip()]
    jumps = jumps_of(mark, at)
    assert [jumps.to_log(n) for n in (0, at, at + len(mark), at + len(mark) + 5)] == [0, at, at + 1000, at + 1005]
    assert [jumps.to_text(n) for n in (0, at, at + 1000, at + 1005)] == [0, at, at + len(mark), at + len(mark) + 5]
    assert at <= jumps.to_text(at + 500) <= at + len(mark)


def test_a_follower_takes_pieces_jumps_and_an_endless_line() -> None:
    follower = Follower(0, 1, frozenset())
    assert follower.take(0, b"one\ntw", False)["lines"][0]["text"] == "one"
    page = follower.take(6, b"o\n", False)
    assert ([line["text"] for line in page["lines"]], page["next_offset"]) == (["two"], 8)
    for n in range(40):
        assert not follower.take(8 + n * 10_000, b"x" * 10_000, False)["lines"]
    page = follower.take(400_008, b"\nthree\n", False)
    assert [line["line"] for line in page["lines"]] == [3, 4]
    assert page["truncated"] and page["next_offset"] == 400_015
    page = follower.take(900_000, b"four\nfi", True)
    assert [(line["line"], line["text"]) for line in page["lines"]] == [(5, "four"), (6, "fi")]
    assert (page["total_lines"], page["next_offset"]) == (6, 900_007)
