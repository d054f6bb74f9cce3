"""Where two copies of one text fit together: what a worker sent, and what its node kept.

A node keeps only the latest part of a long log and doesn't say how much it dropped, so its copy may begin anywhere.
Where the text repeats itself several places fit; the earliest is taken: a line may come twice, none is lost.
"""

from __future__ import annotations

from typing import Any

ANCHOR = 64 * 1024
# Shorter overlaps may be chance.
SURE = 256
_MOST_PLACES = 1000

# bytes, or a mapped file.
Text = Any


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
