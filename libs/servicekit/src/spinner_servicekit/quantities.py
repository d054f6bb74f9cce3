"""Amounts as Kubernetes writes them: "512Mi", "2Gi", "1.5G"; processors: "500m", 2."""

from __future__ import annotations

import re

_UNITS = {
    "": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_QUANTITY = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$")


class InvalidQuantity(ValueError):  # noqa: N818 - an answer
    """A text is no amount. Says which, and what is expected."""


def parse_bytes(quantity: str | int | float) -> int:
    """Bytes of a quantity such as "512Mi" or 2e9; raises InvalidQuantity."""
    if isinstance(quantity, (int, float)):
        return int(quantity)
    match = _QUANTITY.match(quantity)
    if match is None or match[2] not in _UNITS:
        raise InvalidQuantity(f"memory {quantity!r} is not a quantity; write it like 512Mi or 2Gi")
    return int(float(match[1]) * _UNITS[match[2]])


def parse_cpus(quantity: str | int | float) -> float:
    """Processors of a quantity such as "500m" (half of one) or 2; raises InvalidQuantity."""
    if isinstance(quantity, (int, float)):
        return float(quantity)
    match = _QUANTITY.match(quantity)
    if match is None or match[2] not in ("", "m"):
        raise InvalidQuantity(f"cpu {quantity!r} is not a quantity; write it like 500m or 2")
    return float(match[1]) / (1000 if match[2] else 1)
