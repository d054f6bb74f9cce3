"""Windows of lines, and what lines say."""

from __future__ import annotations

import random

from spinner_webgateway.adapters.linefile import BLOCK, LineIndex
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
