"""Which trigger has the loop now, and how much memory each has taken; written by a triggerer, read by its executor.

The memory is shared, so it tells the truth when the process can't: while a trigger blocks the loop or holds the
interpreter, and after the process is gone. One writer; a reader may see a step that is over by then.
"""

from __future__ import annotations

import array
import mmap
import os
import struct
import tempfile
from dataclasses import dataclass

SLOTS = 16_384
_HEAD = struct.Struct("<QQ")
_RESIDENT = struct.Struct("<Q")
_GROWTH = struct.Struct("<d")
_GROWTHS = _HEAD.size + _RESIDENT.size
_SIZE = _GROWTHS + SLOTS * _GROWTH.size


@dataclass(frozen=True, slots=True)
class Step:
    """Number of the latest step, and the slot of the trigger that is in it; None: the loop waits."""

    number: int
    slot: int | None


def new_descriptor() -> int:
    """An empty ledger's file descriptor, to be inherited."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("spinner-triggers")
    else:
        file, path = tempfile.mkstemp()
        os.unlink(path)  # noqa: PTH108
        descriptor = file
    os.ftruncate(descriptor, _SIZE)
    return descriptor


class Ledger:
    """The ledger behind a descriptor, which may be closed afterwards."""

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, _SIZE)
        self._number = 0

    # The process.

    def begin(self, slot: int) -> None:
        self._number += 1
        _HEAD.pack_into(self._map, 0, self._number, slot + 1)

    def end(self, slot: int, grown_bytes: int) -> None:
        if grown_bytes:
            at = _GROWTHS + slot * _GROWTH.size
            _GROWTH.pack_into(self._map, at, _GROWTH.unpack_from(self._map, at)[0] + grown_bytes)
        _HEAD.pack_into(self._map, 0, self._number, 0)

    def clear(self, slot: int) -> None:
        """The slot belongs to another trigger from now on."""
        _GROWTH.pack_into(self._map, _GROWTHS + slot * _GROWTH.size, 0.0)

    # The executor.

    def step(self) -> Step:
        number, slot = _HEAD.unpack_from(self._map, 0)
        return Step(number, slot - 1 if slot else None)

    def largest_growth(self) -> tuple[int, int]:
        """Slot and bytes of the trigger in whose steps the process grew most."""
        growths = array.array("d")
        growths.frombytes(self._map[_GROWTHS:_SIZE])
        most = max(growths)
        return growths.index(most), int(most)

    # A triggerer elsewhere: its host's ledger is copied to the executor's.

    @property
    def resident_bytes(self) -> int:
        """What the process holds, as its host says; 0 for one of this machine."""
        return int(_RESIDENT.unpack_from(self._map, _HEAD.size)[0])

    def content(self, resident_bytes: int) -> bytes:
        """All of it, with what the process holds."""
        _RESIDENT.pack_into(self._map, _HEAD.size, resident_bytes)
        return self._map[:_SIZE]

    def take(self, content: bytes) -> None:
        """Becomes the other one's copy."""
        self._map[:_SIZE] = content

    def close(self) -> None:
        self._map.close()
