"""`python -m spinner_executor.benchmark_triggers`: what a waiting trigger costs in memory and processor time.

Runs COUNT triggers of one kind after the other in a triggerer process of its own and looks at it for SECONDS. Prints
one JSON object: `base_mib`; for each kind `<kind>_kib` (memory of one more trigger), `<kind>_cpu_percent` (of one
core, all COUNT of them), `<kind>_start_cpu_s` (to start all of them) and `<kind>_threads`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

from spinner_executor.adapters.triggerer.process import TriggererProcess
from spinner_executor.domain.triggerers import Death

COUNT = 3000
SECONDS = 10.0
# A user's trigger that asks something each second, as most do.
_POLLING = """
import asyncio
from pathlib import Path
from spinner.triggers import BaseTrigger
class Polling(BaseTrigger):
    def __init__(self, path):
        self.path = path
    async def run(self):
        while not Path(self.path).exists():
            await asyncio.sleep(1)
        yield
"""
_FAR = {"__type__": "datetime", "value": "2099-01-01T00:00:00+00:00"}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "moment": ("spinner.triggers.temporal.DateTimeTrigger", {"moment": _FAR}),
    "run": ("spinner.triggers.external.DagRunTrigger", {"dag_id": "other", "states": ["success"]}),
    "polling": ("bench_triggers.Polling", {"path": "/nonexistent/file"}),
}


class _Listener:
    def __init__(self) -> None:
        self.watches = 0

    def heard(self, process: TriggererProcess, message: dict[str, Any]) -> None:
        if "watch" in message:
            self.watches += 1
        elif "unwatch" not in message:
            raise SystemExit(f"a trigger did not wait: {message}")

    def died(self, process: TriggererProcess, death: Death) -> bool:
        raise SystemExit(f"the triggerer died: {death}")


async def _quiet(process: psutil.Process) -> float:
    """Waits until the process is as busy as it will stay; the processor seconds that it has used by then."""
    before = -1.0
    while (used := sum(process.cpu_times()[:2])) - before > 0.25:
        before = used
        await asyncio.sleep(0.5)
    return used


async def _measure(folder: Path, kind: str) -> dict[str, float]:
    listener = _Listener()
    triggerer = TriggererProcess(str(folder), folder / "log", 1 << 30, listener)
    while triggerer.pid is None:
        await asyncio.sleep(0.01)
    process = psutil.Process(triggerer.pid)
    path, arguments = KINDS[kind]
    triggerer.start("first", path, json.dumps(arguments | _own(kind, -1)))
    idle = await _quiet(process)
    base = process.memory_info().rss
    for n in range(COUNT):
        triggerer.start(str(n), path, json.dumps(arguments | _own(kind, n)))
    before, begun = await _quiet(process), asyncio.get_running_loop().time()
    await asyncio.sleep(SECONDS)
    used = sum(process.cpu_times()[:2]) - before
    elapsed = asyncio.get_running_loop().time() - begun
    figures = {
        "base_mib": round(base / (1 << 20), 1),
        f"{kind}_kib": round((process.memory_info().rss - base) / COUNT / 1024, 2),
        f"{kind}_cpu_percent": round(100 * used / elapsed, 1),
        f"{kind}_start_cpu_s": round(before - idle, 2),
        f"{kind}_threads": process.num_threads(),
    }
    if kind == "run" and listener.watches != COUNT + 1:
        raise SystemExit(f"{listener.watches} watches")
    await triggerer.close()
    return figures


def _own(kind: str, n: int) -> dict[str, Any]:
    return {"run_id": f"manual__{n}"} if kind == "run" else {}


def main() -> None:
    kinds = sys.argv[1:] or list(KINDS)
    figures: dict[str, float] = {"triggers": COUNT}
    with tempfile.TemporaryDirectory(prefix="spinner-bench-") as folder:
        Path(folder, "bench_triggers.py").write_text(_POLLING)
        for kind in kinds:
            figures |= asyncio.run(_measure(Path(folder), kind))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
