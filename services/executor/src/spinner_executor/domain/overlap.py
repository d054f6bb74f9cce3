"""Where two copies of one text fit together: what a worker sent, and what its node kept.

A node keeps only the latest part of a long log and doesn't say how much it dropped, so its copy may begin anywhere.
Where the worker's first process has left something out of the copy it says at which byte the copy goes on
(`spinner.runtime.nodelog`): then each part of the copy has its place. Otherwise the two are laid over each other; where
the text repeats itself several places fit, and the earliest is taken: a line may come twice, none is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spinner.runtime.nodelog import MARK

ANCHOR = 64 * 1024
# Shorter overlaps may be chance.
SURE = 256
_MOST_PLACES = 1000

# bytes, or a mapped file.
Text = Any


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `offset` up to `end` of a worker's log, which its node's copy has from `at` on; `line` lines are before."""

    at: int
    offset: int
    end: int
    line: int


def parts(node: Text, node_start: int, worker: str) -> list[Part]:
    """The parts of `node[node_start:]` between marks, by offset; none when it has no mark of this worker."""
    found: list[Part] = []
    at, offset, line = node_start, -1, 0
    for mark in MARK.finditer(node, node_start):
        stops, stop_line, goes_on, on_line = map(int, mark.groups()[:4])
        if mark[5].decode(errors="replace") != worker:
            continue
        if offset < 0:  # before the first mark: its end is known
            offset = max(0, stops - (mark.start() - at))
            line = stop_line - node[mark.start() - (stops - offset) : mark.start()].count(b"\n")
            at = mark.start() - (stops - offset)
        found.append(Part(at, offset, stops, line))
        at, offset, line = mark.end(), goes_on, on_line
    if found:
        found.append(Part(at, offset, offset + len(node) - at, line))
    needed: list[Part] = []
    for part in reversed(found):  # at the end the copy may have gone back
        end = min(part.end, needed[-1].offset) if needed else part.end
        if part.offset < end:
            needed.append(Part(part.at, part.offset, end, part.line))
    return needed[::-1]


def unsent(ours: Text, start: int, from_first: bool, node: Text, node_start: int) -> tuple[int, bool]:
    """Returns the offset in `node` of what follows the end of `ours`, and whether the two are known to fit.

    `ours[start:]` is what is here of the worker's text, from its first byte on when `from_first`. `node[node_start:]`
    is what its node has.
    """
    have, kept = len(ours) - start, len(node) - node_start
    if not kept:
        return len(node), True
    if not have:
        return node_start, not node_start
    both = min(have, kept)
    if from_first and not node_start and _same(ours, start, node, 0, both):
        return both, True
    end = ours[len(ours) - min(have, ANCHOR) :]
    if have >= SURE and (at := node.find(end, node_start)) >= 0:
        return at + len(end), True
    if kept < SURE:
        return node_start, False
    beginning, at = node[node_start : node_start + SURE], max(start, len(ours) - ANCHOR) - 1
    for _ in range(_MOST_PLACES):
        at = ours.find(beginning, at + 1)
        if at < 0:
            break
        if len(ours) - at <= kept and _same(ours, at, node, node_start, len(ours) - at):
            return node_start + len(ours) - at, True
    if ours.rfind(node[len(node) - min(kept, ANCHOR) :], start) >= 0:
        return len(node), True
    return node_start, False


def _same(one: Text, at: int, other: Text, there: int, count: int) -> bool:
    step = 1 << 20
    return all(
        one[at + done : at + min(done + step, count)] == other[there + done : there + min(done + step, count)]
        for done in range(0, count, step)
    )
