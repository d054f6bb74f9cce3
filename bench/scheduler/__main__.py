"""`make bench-scheduler`: speed and size of the scheduler; prints a table, writes build/bench/bench-scheduler.json.

A benchmark reports, a person judges: it exits 0 whatever the values. `--quick` takes smaller loads, to see that all of
it works: its figures of load don't stand for the goals. What each figure means is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures import Figure, machine, table, write
from bench.scheduler import core, processes
from bench.scheduler.installation import broker

ROOT = Path(__file__).resolve().parent.parent.parent
Part = Callable[[str], Iterator[Figure]]

FULL: dict[str, Part] = {
    "core": lambda _: core.transitions(),
    "shapes": lambda _: core.shapes(),
    "kafka": lambda bootstrap: core.through_kafka(bootstrap),
    "stress": lambda bootstrap: processes.stress(bootstrap, 3_000, 3),
    "many": lambda bootstrap: processes.many(bootstrap, 100_000),
}
QUICK: dict[str, Part] = {
    "core": lambda _: core.transitions(1, 1),
    "kafka": lambda bootstrap: core.through_kafka(bootstrap, 2, 1),
    "stress": lambda bootstrap: processes.stress(bootstrap, 200, 1),
}


def main() -> int:
    """Runs the chosen parts; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.scheduler", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute instead of six")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"only these: {', '.join(FULL)}")
    parser.add_argument("--kafka", default="", help="bootstrap servers; default: a broker of its own")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench" / "bench-scheduler.json")
    arguments = parser.parse_args()
    parts = QUICK if arguments.quick else FULL
    if unknown := sorted(set(arguments.parts) - set(parts)):
        parser.error(f"no part {', '.join(unknown)}: there are {', '.join(parts)}")
    figures: list[Figure] = []
    facts = machine()
    begin = time.monotonic()
    with broker(arguments.kafka) as bootstrap:
        for name in arguments.parts or parts:
            print(f"== {name} (at {time.monotonic() - begin:.0f} s)", flush=True)
            try:
                for one in parts[name](bootstrap):
                    goal = "" if one.goal is None else f"  (goal {'≤' if one.better == 'lower' else '≥'} {one.goal:g})"
                    print(f"   {one.name} = {one.value:g} {one.unit}{goal}", flush=True)
                    figures.append(one)
            except Exception:  # noqa: BLE001 - the other parts are still worth measuring
                print(f"   the rest of {name} could not be measured:", file=sys.stderr)
                traceback.print_exc()
    write(arguments.output, facts, figures)
    print(f"\n{table(figures)}\n\nwritten to {arguments.output} after {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
