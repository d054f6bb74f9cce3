"""`python -m spinner_local up|down|status`, for when the CLI isn't installed."""

from __future__ import annotations

import argparse
import json
import sys

from spinner_servers.process import ServerError

from spinner_local import stack
from spinner_local.home import Home


def main() -> int:
    """Runs one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m spinner_local", description=__doc__)
    parser.add_argument("action", choices=["up", "down", "status"])
    home = Home.default()
    try:
        match parser.parse_args().action:
            case "up":
                stack.up(home)
            case "down":
                print("Spinner is down." if stack.down(home) else "Nothing was running.")
            case _:
                print(json.dumps(stack.as_json(stack.status(home)), indent=1))
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
