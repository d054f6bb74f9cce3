"""`python -m spinner_scheduler.simulation --seeds N --first-seed S [--processes P] [--replay SCENARIO]`.

The last line is the totals; the exit code is 1 if an invariant was violated. A failing seed is made smaller, then
printed with what happened last and the command that repeats it.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections import Counter

from spinner_scheduler.simulation.scenario import draw, parse
from spinner_scheduler.simulation.shrinking import Outcome, shrink, simulate

_TRACE_LINES = 60
_PROGRESS_SEEDS = 500


def run_seed(seed: int) -> Outcome:
    return simulate(draw(seed))


def _seldom_collect() -> None:
    """A world is many small objects that live as long as it does."""
    gc.set_threshold(20_000)


def report(failed: Outcome, shrink_seconds: float) -> str:
    """A failure for people: the smallest scenario that shows it, what happened last, and how to repeat it."""
    small = shrink(failed, shrink_seconds) if shrink_seconds > 0 else failed
    shown = simulate(small.scenario, _TRACE_LINES)
    acts = "".join(f"    act {act.number} at {act.seconds:.3f} s: {act.kind}\n" for act in small.scenario.acts)
    trace = "\n".join(f"    {line}" for line in shown.trace)
    return (
        f"seed {failed.scenario.seed}: {shown.text or failed.text}\n"
        f"  smallest scenario: {len(small.scenario.dags)} DAGs, {len(small.scenario.acts)} acts\n{acts}"
        f"  what happened last (seconds, what):\n{trace}\n"
        f"  again: python -m spinner_scheduler.simulation --replay {small.scenario.text()}"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="spinner_scheduler.simulation", description="The scheduler among faults, on virtual time"
    )
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="processes to use")
    parser.add_argument("--shrink-seconds", type=float, default=60, help="time to make each failure smaller; 0: don't")
    parser.add_argument("--replay", default="", help="run this scenario alone, as a failing seed printed it")
    options = parser.parse_args(arguments)
    if options.replay:
        outcome = simulate(parse(options.replay))
        print(report(outcome, 0) if outcome.violated else "all invariants hold")
        return 1 if outcome.violated else 0
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    started = time.monotonic()
    transitions = runs = crashes = ahead = undone = warm = 0
    faults: Counter[str] = Counter()
    failed: list[Outcome] = []
    with multiprocessing.Pool(options.processes, _seldom_collect) as pool:
        for done, outcome in enumerate(pool.imap_unordered(run_seed, seeds, chunksize=1), 1):
            transitions += outcome.totals.transitions
            runs += outcome.totals.runs
            crashes += outcome.totals.crashes
            ahead += outcome.totals.ahead
            undone += outcome.totals.undone
            warm += outcome.totals.warm
            faults += outcome.totals.faults
            if outcome.violated:
                failed.append(outcome)
                print(f"seed {outcome.scenario.seed} violates {outcome.violated}", flush=True)
            if done % _PROGRESS_SEEDS == 0:
                rate = done / (time.monotonic() - started)
                print(f"{done} of {len(seeds)} seeds, {len(failed)} failures, {rate:.2f} seeds/s", flush=True)
    seconds = time.monotonic() - started
    for outcome in failed[:5]:
        print(report(outcome, options.shrink_seconds), flush=True)
    print("acts: " + " ".join(f"{kind}={number}" for kind, number in sorted(faults.items())))
    print(
        f"seeds={len(seeds)} transitions={transitions} runs={runs} crashes={crashes} decided_ahead={ahead} "
        f"undone={undone} warm_takeovers={warm} failures={len(failed)} seconds={seconds:.0f} "
        f"seeds_per_s={len(seeds) / seconds:.2f}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
