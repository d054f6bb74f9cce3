"""Refusals that a caller can act on, before any transport is known."""

from __future__ import annotations

from collections.abc import Mapping


class Rejected(Exception):  # noqa: N818 - an answer rather than an error
    """A request that can't be done as it stands; maps to one canonical gRPC code.

    `code`: name of a `grpc.StatusCode`, as "NOT_FOUND". `fix`: what the caller can do about it. `reason`: UPPER_SNAKE,
    stable for programs; default: the code. `fields`: what is wrong with which field of the request.
    """

    def __init__(
        self,
        code: str,
        message: str,
        fix: str = "",
        reason: str = "",
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{message}: {fix}" if fix else message)
        self.code, self.message, self.fix = code, message, fix
        self.reason = reason or code
        self.fields = dict(fields or {})
