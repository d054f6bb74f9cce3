"""What keeps a whole bundle from being read."""

from __future__ import annotations


class BundleError(Exception):
    """A bundle can't be fetched or is out of bounds. `kind` names the error; `fix` says how to mend it."""

    def __init__(self, kind: str, message: str, fix: str) -> None:
        super().__init__(f"{message}. {fix}")
        self.kind, self.message, self.fix = kind, message, fix
