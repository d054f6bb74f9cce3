"""`python -m spinner_executor`: an executor, set by SPINNER_* variables (`--help` lists them)."""

from __future__ import annotations

from spinner_servicekit.app import run_async

from spinner_executor.app import main
from spinner_executor.settings import Settings

if __name__ == "__main__":
    run_async("executor", Settings, main)
