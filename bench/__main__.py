"""`make bench`: measures the whole on this machine, prints a table, writes build/bench/bench.json.

A benchmark reports, a person judges: it exits 0 whatever the values. A part that can't run is named, and its
figures are missing from the result.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import parts
from bench.figures import Figure, machine, table, write

ROOT = Path(__file__).resolve().parent.parent
PARTS: dict[str, Callable[[], Iterator[Figure]]] = {
    "sdk": parts.sdk_import,
    "core": parts.scheduler,
    "executor": parts.executor,
    "stack": parts.stack,
}


def main() -> int:
    """Runs the chosen parts; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="only these parts; may be repeated")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench" / "bench.json")
    arguments = parser.parse_args()
    figures: list[Figure] = []
    for name in arguments.only or PARTS:
        print(f"== {name}", flush=True)
        try:
            for figure in PARTS[name]():
                print(f"   {figure.name} = {figure.value:g} {figure.unit}", flush=True)
                figures.append(figure)
        except Exception:  # noqa: BLE001 - the other parts are still worth measuring
            print(f"   the rest of {name} could not be measured:", file=sys.stderr)
            traceback.print_exc()
    write(arguments.output, machine(), figures)
    print(f"\n{table(figures)}\n\nwritten to {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
