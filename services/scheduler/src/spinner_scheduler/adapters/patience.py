"""How long an inbox record may wait for others, so that they are decided in one transaction.

A transaction costs the broker some twenty requests, whatever is in it. So what nothing follows from waits a moment,
and on a busy installation the end of a try does, too: where workers are so few that the try itself waited for one,
its successors will, and a small share of that wait is not noticed. On an idle one an end is decided at once.
"""

from __future__ import annotations

from spinner_eventlog.interface import Poison, Record
from spinner_proto.common.v1.common_pb2 import Stage
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, TaskEnded

LONGEST_SECONDS = 0.2
"""Also for "it runs now" and the like, from which nothing follows: an eye hardly sees it."""
END_SHARE = 0.1
"""Of the time that the try has waited for a worker."""
LEAST_SECONDS = 0.02
"""A shorter wait is not worth the while."""

_NOTES = frozenset({"launched", "started", "pending"})


def patience(record: Record) -> float:
    """Returns seconds; 0 for what somebody waits for, and for what can't be read."""
    try:
        message = record.decode(InboxMessage)
    except Poison:
        return 0.0
    if message.WhichOneof("kind") != "task_report":
        return 0.0
    kind = message.task_report.WhichOneof("kind")
    if kind in _NOTES:
        return LONGEST_SECONDS
    return _of_end(message.task_report.ended) if kind == "ended" else 0.0


def _of_end(ended: TaskEnded) -> float:
    for stage in reversed(ended.stages):
        if stage.stage == Stage.STAGE_QUEUE:
            queued = (stage.end_time.ToMicroseconds() - stage.start_time.ToMicroseconds()) / 1e6
            wait = min(END_SHARE * queued, LONGEST_SECONDS)
            return wait if wait >= LEAST_SECONDS else 0.0
    return 0.0
