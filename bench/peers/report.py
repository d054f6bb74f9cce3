"""The comparison for readers: a Markdown table between two marks of docs/benchmarks.md, and a plot in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- peers: written by make bench-peers -->", "<!-- /peers -->"
COLUMNS = (
    ("w1_ms_per_task", "W1: 40 in sequence, ms a task", "lower"),
    ("w2_tasks_per_s", "W2: 1 → 200 → 1, tasks/s", "higher"),
    ("w3_tasks_per_s", "W3: 200 DAGs × 10 at once, tasks/s", "higher"),
    ("w3_first_task_p95_s", "W3: first task late by p95, s", "lower"),
    ("memory_mib", "memory, MiB", "lower"),
)


@dataclass(frozen=True)
class Row:
    """A peer's medians by the name of a figure; what is missing was not measured."""

    name: str
    isolation: str
    tuning: str
    values: dict[str, float]


def table(rows: Sequence[Row]) -> str:
    """Markdown; the best of each column is bold."""
    best = {}
    for key, _, better in COLUMNS:
        known = [row.values[key] for row in rows if key in row.values]
        if known:
            best[key] = min(known) if better == "lower" else max(known)
    lines = [
        "| | isolation | " + " | ".join(title for _, title, _ in COLUMNS) + " |",
        "|---|---|" + "---|" * len(COLUMNS),
    ]
    for row in rows:
        cells = []
        for key, _, _ in COLUMNS:
            value = row.values.get(key)
            text = "–" if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
            cells.append(f"**{text}**" if value is not None and value == best[key] else text)
        lines.append(f"| {row.name} | {row.isolation} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(rows: Sequence[Row]) -> str:
    """Two bar charts (W1, W2) as one SVG that reads in light and dark."""
    width, bar, gap, left = 720, 18, 8, 210
    parts, top = [], 8
    for key, title, better in COLUMNS[:2]:
        known = [(row.name, row.values[key]) for row in rows if key in row.values]
        if not known:
            continue
        known.sort(key=lambda pair: pair[1], reverse=better == "higher")
        longest = max(value for _, value in known)
        parts.append(f'<text x="0" y="{top + 12}" class="t">{escape(title)} ({better} is better)</text>')
        top += 24
        for name, value in known:
            size = max(2.0, (width - left - 90) * value / longest)
            kind = "s" if name == "Spinner" else "p"
            parts.append(f'<text x="{left - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>')
            parts.append(f'<rect x="{left}" y="{top}" width="{size:.1f}" height="{bar}" rx="2" class="{kind}"/>')
            parts.append(f'<text x="{left + size + 6:.1f}" y="{top + 13}">{value:,.3g}</text>')
            top += bar + gap
        top += 16
    style = (
        "text{font:12px system-ui,sans-serif;fill:#444}.t{font-weight:600}.s{fill:#2563eb}.p{fill:#9ca3af}"
        "@media(prefers-color-scheme:dark){text{fill:#ccc}.s{fill:#60a5fa}.p{fill:#6b7280}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" role="img" '
        f'aria-label="Spinner and its peers"><style>{style}</style>{"".join(parts)}</svg>\n'
    )


def write_docs(folder: Path, facts: dict[str, Any], rows: Sequence[Row]) -> None:
    """Writes the plot, and the table into benchmarks.md (between its marks, or at its end)."""
    (folder / "benchmarks-peers.svg").write_text(plot(rows))
    path = folder / "benchmarks.md"
    text = path.read_text() if path.exists() else "# Benchmarks\n"
    day = datetime.now(UTC).date().isoformat()
    tuned = "\n".join(f"- {row.name}: {row.tuning}." for row in rows)
    section = (
        f"{BEGIN}\n{table(rows)}\n\n![W1 and W2](benchmarks-peers.svg)\n\n"
        f"Medians of {day} on {facts['cores']} cores, {facts['memory_gib']:g} GiB, load {facts['load']:g} before; "
        f"Python {facts['python']}.\n\n{tuned}\n{END}"
    )
    if BEGIN in text and END in text:
        before, rest = text.split(BEGIN, 1)
        text = before + section + rest.split(END, 1)[1]
    else:
        text = text.rstrip() + "\n\n## Peers\n\n" + section + "\n"
    path.write_text(text)
