"""How results are printed: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

COLOURS = {
    "success": "green",
    "running": "bright_green",
    "failed": "red",
    "failing": "red",
    "upstream_failed": "dark_orange",
    "up_for_retry": "yellow",
    "up_for_reschedule": "cyan",
    "deferred": "medium_purple",
    "skipped": "magenta",
    "queued": "bright_black",
    "scheduled": "tan",
    "starting": "yellow",
    "stopped": "bright_black",
    "done": "green",
    "paused": "yellow",
    "cancelled": "bright_black",
    "error": "red",
    "warning": "yellow",
}


def print_json(value: Any) -> None:
    """Prints a value as indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_json_line(value: Any) -> None:
    """Prints a value as one line of JSON at once, for streams."""
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def print_done(result: Any, text: str, as_json: bool) -> None:
    """Prints what an action answered: the result for programs, a sentence for people."""
    print_json(result) if as_json else print(text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> None:
    """Prints rows below headings; `empty` is said instead when there are none. State words are coloured."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    lines = [[_cell(value) for value in row] for row in rows]
    if not lines:
        print(empty)
        return
    # A pipe has no width: nothing may be cut there.
    console = Console(width=None if sys.stdout.isatty() else 400)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=not sys.stdout.isatty())
    for line in lines:
        table.add_row(*line)
    console.print(table)


def print_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Prints `name  value` lines, leaving out empty values."""
    shown = [(name, value) for name, value in facts if value not in (None, "", [], {})]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name:<{width}}  {value}")


def short_time(text: str | None) -> str:
    """An ISO time as local `2026-11-27 08:00:00`."""
    if not text:
        return ""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str:
    """Seconds for people: `4 ms`, `0.42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds is None:
        return ""
    if 0 < seconds < 0.1:
        return f"{max(1, round(seconds * 1000))} ms"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(amount: int | None) -> str:
    """Bytes for people: `312 MiB`, `1.5 GiB`; "" for none."""
    if not amount:
        return ""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    step = min((amount.bit_length() - 1) // 10, len(units) - 1)
    number = amount / (1 << (10 * step))
    return f"{number:.0f} {units[step]}" if number >= 100 or number == int(number) else f"{number:.1f} {units[step]}"


def counts(task_counts: dict[str, int]) -> str:
    """`3 success, 1 failed`."""
    return ", ".join(f"{count} {state}" for state, count in task_counts.items() if count)


def now_text() -> str:
    """The time of day, for lines of a watch."""
    return datetime.now(UTC).astimezone().strftime("%H:%M:%S")


def _cell(value: Any) -> str:
    from rich.markup import escape

    text = "" if value is None else str(value)
    colour = COLOURS.get(text)
    return f"[{colour}]{text}[/]" if colour else escape(text)
