"""A measured figure, its goal, and the form in which results are kept."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

# name: (unit, goal, which way is better)
GOALS: dict[str, tuple[str, float | None, Literal["lower", "higher"]]] = {
    "hop_p50_ms": ("ms", 10, "lower"),
    "hop_p95_ms": ("ms", 20, "lower"),
    "w1_ms_per_task": ("ms", 12.5, "lower"),
    "w2_tasks_per_s": ("tasks/s", 150, "higher"),
    "w3_tasks_per_s": ("tasks/s", 150, "higher"),
    "w3_first_task_p95_s": ("s", 2, "lower"),
    "sdk_import_s": ("s", 0.15, "lower"),
    "sdk_import_mib": ("MiB", 45, "lower"),
    "up_warm_s": ("s", 15, "lower"),
    "stack_idle_mib": ("MiB", 900, "lower"),
    "stack_idle_cpu_percent": ("% of a core", 5, "lower"),
    "core_transitions_per_s": ("/s", 20_000, "higher"),
    "kafka_transitions_per_s": ("/s", 8_000, "higher"),
    "stress1_tsd1_p95_s": ("s", 2, "lower"),
    "stress1_tsd2_p95_s": ("s", 5, "lower"),
    "stress1_restart_s": ("s", 3, "lower"),
    "stress1_restart_after_burst_s": ("s", 3, "lower"),
    "stress1_rss_mib": ("MiB", 1_536, "lower"),
    "takeover_s": ("s", 3, "lower"),
    "takeover_catch_up_s": ("s", 1, "lower"),
    "fanout_10000_growth": ("×", 1.5, "lower"),
    "chain_5000_growth": ("×", 1.5, "lower"),
    "dags100k_ready_s": ("s", 10, "lower"),
    "dags100k_idle_cpu_percent": ("% of a core", 2, "lower"),
    "dags100k_due_run_cpu_ms": ("ms", None, "lower"),
    "dags1k_due_run_cpu_ms": ("ms", None, "lower"),
    "dags100k_rss_mib": ("MiB", None, "lower"),
    "kubernetes_pods_per_s": ("pods/s", 100, "higher"),
    "kubernetes_api_pods_per_s": ("pods/s", None, "higher"),
    "kubernetes_pods_percent_of_api": ("%", 90, "higher"),
    "kubernetes_executor_cpu_ms_per_pod": ("ms", None, "lower"),
    "kubernetes_live_pods_started_s": ("s", None, "lower"),
    "kubernetes_kib_per_live_pod": ("KiB", None, "lower"),
    "kubernetes_status_lag_p50_ms": ("ms", None, "lower"),
    "kubernetes_status_lag_p95_ms": ("ms", 500, "lower"),
    "local_tasks_per_s": ("tasks/s", 150, "higher"),
    "launch_p50_ms": ("ms", None, "lower"),
    "launch_p95_ms": ("ms", None, "lower"),
    "local_hop_p50_ms": ("ms", 10, "lower"),
    "local_hop_p95_ms": ("ms", 20, "lower"),
}


@dataclass(frozen=True)
class Figure:
    """`value` is the median of `runs` measurements between `min` and `max`."""

    name: str
    value: float
    unit: str
    goal: float | None
    better: Literal["lower", "higher"]
    runs: int
    min: float
    max: float

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal


def figure(name: str, values: Sequence[float], unit: str = "", better: Literal["lower", "higher"] = "lower") -> Figure:
    """A figure from measurements; unit and goal come from GOALS for the names listed there."""
    known_unit, goal, known_better = GOALS.get(name, (unit, None, better))
    rounded = [round(value, 4) for value in values]
    median = round(statistics.median(rounded), 4)
    return Figure(name, median, known_unit, goal, known_better, len(rounded), min(rounded), max(rounded))


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(percent / 100 * len(ordered) + 0.5) - 1))]


def machine() -> dict[str, Any]:
    """What the figures were measured on, with its load before."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def write(path: Path, machine_facts: dict[str, Any], figures: Sequence[Figure]) -> None:
    """Writes the result file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine_facts, "figures": [asdict(one) for one in figures]}
    path.write_text(json.dumps(content, indent=1) + "\n")


def table(figures: Sequence[Figure]) -> str:
    """The figures for people."""
    marks = {True: "reached", False: "missed", None: ""}
    lines = [f"{'figure':<36} {'value':>12} {'goal':>10}  {'':<8} {'min … max':>22}  unit"]
    for one in figures:
        goal = "" if one.goal is None else f"{'≤' if one.better == 'lower' else '≥'} {one.goal:g}"
        spread = f"{one.min:g} … {one.max:g}" if one.runs > 1 else ""
        lines.append(f"{one.name:<36} {one.value:>12g} {goal:>10}  {marks[one.reached]:<8} {spread:>22}  {one.unit}")
    return "\n".join(lines)
