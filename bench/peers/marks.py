"""What a workload's tasks leave: a file each, whose text is the time in nanoseconds.

All figures of speed come from these marks, so nobody's own clock or API is believed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path

from bench.figures import percentile


class Marks:
    """The marks of one run of a workload, in a new folder; `begin_ns`: when it was asked for."""

    def __init__(self, parent: Path) -> None:
        self.folder = parent / uuid.uuid4().hex[:10]
        self.folder.mkdir(parents=True)
        self.begin_ns = time.time_ns()

    def wait(self, count: int, seconds: float, alive: Callable[[], None] = lambda: None) -> None:
        """Returns when so many marks are there; TimeoutError otherwise. `alive` raises when waiting is in vain."""
        deadline = time.monotonic() + seconds
        while (found := sum(1 for _ in self.folder.iterdir())) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{found} of {count} tasks ran within {seconds:.0f} s")
            alive()
            time.sleep(0.1)

    def values(self, workload: str) -> dict[str, float]:
        """The workload's figures by name."""
        return {"w1": self._chain, "w2": self._fan_out, "w3": self._burst}[workload]()

    def _times(self) -> dict[str, int]:
        return {path.name: int(path.read_text()) for path in self.folder.iterdir()}

    def _chain(self) -> dict[str, float]:
        times = sorted(self._times().values())
        return {
            "w1_ms_per_task": (times[-1] - times[0]) / 1e6 / (len(times) - 1),
            "w1_whole_s": (times[-1] - self.begin_ns) / 1e9,
        }

    def _fan_out(self) -> dict[str, float]:
        times = sorted(self._times().values())
        return {"w2_tasks_per_s": (len(times) - 1) / ((times[-1] - times[0]) / 1e9)}

    def _burst(self) -> dict[str, float]:
        times = self._times()
        late = [(value - self.begin_ns) / 1e9 for name, value in times.items() if name.endswith("~step_0")]
        took = (max(times.values()) - self.begin_ns) / 1e9
        return {"w3_tasks_per_s": len(times) / took, "w3_first_task_p95_s": percentile(late, 95)}
