"""The one way a command fails on purpose."""

from __future__ import annotations


class CliError(Exception):
    """Ends the command with exit code 1; `message` says what is wrong and where, `fix` how to mend it."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message, self.fix = message, fix
