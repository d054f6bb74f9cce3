"""`python -m services.scheduler.tests.golden.record RELEASE SEED…`: keeps the logs of these seeds of the simulation.

The world is stopped after its hour, in the middle of what it does, so that live runs, waiting tasks and open requests
are in the log.
"""

from __future__ import annotations

import logging
import sys

from spinner_scheduler.simulation.scenario import draw
from spinner_scheduler.simulation.world import World

from services.scheduler.tests.golden.golden import FOLDER, write


def main(release: str, *seeds: str) -> None:
    logging.disable(logging.CRITICAL)
    for seed in seeds:
        world = World(draw(int(seed)))
        world.live_for_its_time()
        path = FOLDER / f"release_{release}-seed_{seed}.json.zst"
        if path.exists():
            sys.exit(f"{path.name} exists: a release's logs are recorded once, and never changed")
        write(path, world)
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(*sys.argv[1:])
