"""`python -m spinner_rca`: diagnoses failed tries until it is stopped."""

from __future__ import annotations

from spinner_servicekit.app import run_async

from spinner_rca.app import serve
from spinner_rca.settings import Settings

if __name__ == "__main__":
    run_async("rca", Settings, serve)
