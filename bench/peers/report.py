"""The comparison for readers: a section between two marks of docs/benchmarks.md, and a plot in SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from bench.peers.peer import Peer
from bench.peers.pieces import DISTURBED_PERCENT, METRICS, Piece, median, values_by_peer

BEGIN, END = "<!-- peers: written by make bench-peers -->", "<!-- /peers -->"
PLOTTED = ("w1_ms_per_task", "w2_tasks_per_s", "w3_tasks_per_s", "w2_cpu_ms_per_task")


@dataclass(frozen=True)
class Row:
    """A peer with all measurements by the name of a figure; what is missing was not measured."""

    key: str
    peer: Peer
    versions: Sequence[str]
    values: Mapping[str, list[float]]

    def median(self, name: str) -> float | None:
        return median(self.values[name]) if name in self.values else None


def rows(peers: Mapping[str, Peer], pieces: Sequence[Piece]) -> list[Row]:
    """A row for each peer that something was measured of, in the order of `peers`."""
    values = values_by_peer(pieces)
    return [
        Row(key, peer, list(dict.fromkeys(piece.version for piece in pieces if piece.peer == key)), values[key])
        for key, peer in peers.items()
        if key in values
    ]


def table(rows: Sequence[Row]) -> str:
    """Markdown, a column a peer; the best of each line is bold."""
    lines = [
        "| | " + " | ".join(row.peer.name for row in rows) + " |",
        "|---|" + "---|" * len(rows),
        "| isolation | " + " | ".join(row.peer.isolation for row in rows) + " |",
    ]
    for name, metric in METRICS.items():
        known = [value for row in rows if (value := row.median(name)) is not None]
        if not known:
            continue
        best = min(known) if metric.better == "lower" else max(known)
        cells = []
        for row in rows:
            value = row.median(name)
            text = "–" if value is None else _text(value)
            cells.append(f"**{text}**" if value == best and len(known) > 1 else text)
        lines.append(f"| {metric.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ahead(rows: Sequence[Row]) -> list[str]:
    """A Markdown item for each figure in which a peer is better than Spinner."""
    own = next((row for row in rows if row.key == "spinner"), None)
    items = []
    for name, metric in METRICS.items():
        mine = own.median(name) if own else None
        if mine is None:
            continue
        better = [
            (row.peer.name, value)
            for row in rows
            if (value := row.median(name)) is not None and (value < mine if metric.better == "lower" else value > mine)
        ]
        if better:
            better.sort(key=lambda pair: pair[1], reverse=metric.better == "higher")
            named = ", ".join(f"{peer} {_text(value)}" for peer, value in better)
            items.append(f"- {metric.title}: {named}; Spinner {_text(mine)}.")
    return items


def plot(rows: Sequence[Row]) -> str:
    """Medians and their range, on logarithmic axes, as one SVG that reads in light and dark."""
    width, line, left, right = 720, 22, 170, 70
    parts, top = [], 4
    for name in PLOTTED:
        metric = METRICS[name]
        known = [(row, row.values[name]) for row in rows if name in row.values]
        if not known:
            continue
        known.sort(key=lambda pair: median(pair[1]), reverse=metric.better == "higher")
        low = math.floor(math.log10(min(min(values) for _, values in known)))
        high = max(low + 1, math.ceil(math.log10(max(max(values) for _, values in known))))

        def x(value: float, low: int = low, high: int = high) -> float:
            return left + (width - left - right) * (math.log10(value) - low) / (high - low)

        parts.append(f'<text x="0" y="{top + 14}" class="t">{escape(metric.title)} ({metric.better} is better)</text>')
        top += 24
        for decade in range(low, high + 1):
            place, bottom = x(10.0**decade), top + line * len(known)
            parts.append(f'<path d="M{place:.1f} {top}V{bottom}" class="g"/>')
            parts.append(f'<text x="{place:.1f}" y="{bottom + 12}" class="a">{10.0**decade:g}</text>')
        for row, values in known:
            middle, kind = top + line / 2, "s" if row.key == "spinner" else "p"
            at = x(median(values))
            parts.append(f'<text x="{left - 12}" y="{middle + 4:g}" text-anchor="end">{escape(row.peer.name)}</text>')
            parts.append(f'<path d="M{x(min(values)):.1f} {middle:g}H{x(max(values)):.1f}" class="r {kind}"/>')
            parts.append(f'<circle cx="{at:.1f}" cy="{middle:g}" r="5" class="{kind}"/>')
            edge = x(max(values)) + 9
            parts.append(f'<text x="{edge:.1f}" y="{middle + 4:g}">{_text(median(values))}</text>')
            top += line
        top += 30
    style = (
        "text{font:12px system-ui,sans-serif;fill:#444}.t{font-weight:600}.a{font-size:10px;text-anchor:middle}"
        ".g{stroke:#8884}.r{stroke-width:2}.s{fill:#2563eb;stroke:#2563eb}.p{fill:#9ca3af;stroke:#9ca3af}"
        "@media(prefers-color-scheme:dark){text{fill:#ccc}.s{fill:#60a5fa;stroke:#60a5fa}.p{fill:#6b7280;stroke:#6b7280}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" role="img" '
        f'aria-label="Spinner and its peers, logarithmic axes"><style>{style}</style>{"".join(parts)}</svg>\n'
    )


def write_docs(
    folder: Path, facts: Mapping[str, Any], rows: Sequence[Row], pieces: Sequence[Piece], left_out: int = 0
) -> None:
    """Writes the plot, and the section into benchmarks.md (between its marks, or at its end).

    `left_out`: how many more pieces there were, disturbed ones.
    """
    (folder / "benchmarks-peers.svg").write_text(plot(rows))
    path = folder / "benchmarks.md"
    text = path.read_text() if path.exists() else "# Benchmarks\n"
    section = f"{BEGIN}\n{_section(facts, rows, pieces, left_out)}\n{END}"
    if BEGIN in text and END in text:
        before, rest = text.split(BEGIN, 1)
        text = before + section + rest.split(END, 1)[1]
    else:
        text = text.rstrip() + "\n\n## Peers\n\n" + section + "\n"
    path.write_text(text)


def _section(facts: Mapping[str, Any], rows: Sequence[Row], pieces: Sequence[Piece], left_out: int) -> str:
    loads = [piece.load for piece in pieces]
    others = [piece.others_cpu_percent for piece in pieces]
    about = "\n".join(
        f"| {row.peer.name} | {', '.join(row.versions)} | {row.peer.durable} | {row.peer.tuning} | {_runs(row)} |"
        for row in rows
    )
    better = "\n".join(ahead(rows)) or "Nowhere in this run."
    return (
        f"{table(rows)}\n\n"
        "Medians; bold is the best of a line, whatever it gives up for that.\n\n"
        "![The same as a plot](benchmarks-peers.svg)\n\n"
        f"### Where a peer is ahead\n\n{better}\n\n"
        "### What was compared\n\n"
        "| | version | what is kept | set-up and tuning | measurements of W1, W2, W3 |\n|---|---|---|---|---|\n"
        f"{about}\n\n"
        f"Measured {_span(pieces)} (UTC) on {facts['cores']} cores, {facts['memory_gib']:g} GiB, "
        f"Python {facts['python']}. "
        f"Load before a turn: median {_text(median(loads))}, at most {_text(max(loads))}; what everything else used "
        f"during a measurement: median {_text(median(others))}, at most {_text(max(others))} % of a core. "
        f"Left out: {left_out} measurements during which that was more than {DISTURBED_PERCENT:g} %, where a quieter "
        "one is there."
    )


def _span(pieces: Sequence[Piece]) -> str:
    first, last = (times(piece.time for piece in pieces)[:16].replace("T", " ") for times in (min, max))
    return f"{first} to {last[11:] if first[:10] == last[:10] else last}"


def _runs(row: Row) -> str:
    counts = [len(row.values.get(name, [])) for name in ("w1_ms_per_task", "w2_tasks_per_s", "w3_tasks_per_s")]
    return ", ".join(map(str, counts))


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
