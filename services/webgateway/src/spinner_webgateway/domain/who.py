"""Who asks, and what they want to do."""

from __future__ import annotations

from dataclasses import dataclass

from spinner_proto.common.v1 import common_pb2


@dataclass(frozen=True, slots=True)
class Caller:
    """A person or program; `name` is for example "user:alice"."""

    name: str
    roles: tuple[str, ...]
    via: str
    development: bool = False

    def actor(self) -> common_pb2.Actor:
        return common_pb2.Actor(name=self.name, via=self.via)
