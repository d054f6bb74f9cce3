"""A refusal: the answer to a command that can't be done."""

from __future__ import annotations


class Rejected(Exception):  # noqa: N818 - an answer, not an error
    """Has a stable code, and a message that says what, where and how to fix it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
