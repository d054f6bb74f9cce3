"""The part of a log that belongs to the stage that failed. Pure."""

from __future__ import annotations

from spinner_rca.domain.classifier import STAMP

MAX_LINES = 3000
"""Lines classified at most, the last ones: what ended the try stands there."""


def failed_section(text: str, first_line: int, stage: str) -> tuple[str, int]:
    """Returns the stage's lines and the number of the first of them; the whole text when the stage isn't in it."""
    lines = text.splitlines()
    start, end = 0, len(lines)
    if stage:
        stamped = [(n, match.group("stage")) for n, line in enumerate(lines) if (match := STAMP.match(line))]
        own = [n for n, name in stamped if name == stage]
        if own:
            start = own[0]
            later = [n for n, name in stamped if n > own[-1] and name != stage]
            end = later[0] if later else len(lines)
    start = max(start, end - MAX_LINES)
    return "\n".join(lines[start:end]), first_line + start
