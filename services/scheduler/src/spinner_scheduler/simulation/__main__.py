"""`python -m spinner_scheduler.simulation --seeds N --first-seed S [--processes P]`.

The last line is the totals; the exit code is 1 if an invariant was violated. Each failing seed is printed with the
command that repeats it.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import time
import traceback

from spinner_scheduler.simulation.invariants import ViolatedError
from spinner_scheduler.simulation.world import World


def simulate(seed: int) -> tuple[int, int, int, int, str]:
    """Returns seed, transitions, runs, crashes, and what went wrong ("" for nothing)."""
    logging.disable(logging.CRITICAL)
    world = World(seed)
    try:
        totals = world.run()
    except ViolatedError as violated:
        return seed, world.totals.transitions, 0, world.totals.crashes, str(violated)
    except Exception:  # noqa: BLE001 - any exception is a finding
        return seed, world.totals.transitions, 0, world.totals.crashes, traceback.format_exc()
    return seed, totals.transitions, totals.runs, totals.crashes, ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="spinner_scheduler.simulation")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    options = parser.parse_args(arguments)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    started = time.monotonic()
    transitions = runs = crashes = failures = 0
    with multiprocessing.Pool(options.processes) as pool:
        for seed, more, ended, restarts, wrong in pool.imap_unordered(simulate, seeds):
            transitions += more
            runs += ended
            crashes += restarts
            if wrong:
                failures += 1
                print(f"seed {seed}: {wrong}")
                print(f"  again: python -m spinner_scheduler.simulation --seeds 1 --first-seed {seed}", flush=True)
    seconds = time.monotonic() - started
    print(
        f"seeds={len(seeds)} transitions={transitions} runs={runs} crashes={crashes} failures={failures} "
        f"seeds_per_s={len(seeds) / seconds:.2f}"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
