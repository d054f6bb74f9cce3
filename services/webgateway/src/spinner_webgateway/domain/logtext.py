"""Lines of a try's log: what the runtime wrote in front of them, and which of them matter. Pure.

A stamped line is `[2026-11-27T08:00:00.123Z] {TaskExecStage} INFO logger.name: message`. Anything else is output
of user code and belongs to the stage of the stamped line before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from typing import Any

STAMP = re.compile(r"\[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))\] \{(\w*)\} ([A-Z]+) ([^\s:]*): ?")
TRACEBACK = re.compile(
    r"\s*Traceback \(most recent call last\)|(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b(?::|$)"
)
MAX_LINE_CHARS = 20_000
LEFT_OUT_LOGGER = "spinner.log.left_out"
"""The logger of the line that stands for what a long log lacks."""


def parse_lines(
    texts: Iterable[str], first_line: int, stage: str, critical: Set[int]
) -> tuple[list[dict[str, Any]], bool, str]:
    """Returns the shapes `LogLine`, whether any was cut, and the stage that the next line belongs to.

    `stage` is that of the line before the first; `critical` are line numbers that the diagnosis names.
    """
    lines: list[dict[str, Any]] = []
    cut = False
    for number, raw in enumerate(texts, first_line):
        text = raw.rstrip("\r\n")
        if len(text) > MAX_LINE_CHARS:
            text = f"{text[:MAX_LINE_CHARS]} … ({len(text) - MAX_LINE_CHARS:,} characters more; see the raw log)"
            cut = True
        time, level, logger = None, "", ""
        stamp = STAMP.match(text)
        if stamp:
            time, stage, level, logger = stamp.groups()
            text = text[stamp.end() :]
        matters = number in critical or level in ("ERROR", "CRITICAL", "FATAL") or bool(TRACEBACK.match(text))
        lines.append(
            {
                "line": number,
                "time": time,
                "level": level,
                "stage": stage,
                "logger": logger,
                "text": text,
                "critical": matters,
            }
        )
    return lines, cut, stage


def last_stage(text: str) -> str:
    """Returns the stage of the last stamped line; "" when there is none."""
    for line in reversed(text.splitlines()):
        stamp = STAMP.match(line)
        if stamp:
            return stamp.group(2)
    return ""
