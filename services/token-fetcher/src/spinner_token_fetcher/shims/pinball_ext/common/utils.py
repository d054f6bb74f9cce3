"""Helpers that jobs import."""

from __future__ import annotations

import logging


def get_logger(name: str) -> logging.Logger:
    return logging.getLogger(name)


def parse_arguments(text: str) -> dict[str, str]:
    """Reads "key=value,key=value"; a comma without a key belongs to the value before it."""
    found: dict[str, str] = {}
    last = ""
    for part in text.split(",") if text else ():
        key, separator, value = part.partition("=")
        if separator:
            last = key.strip()
            found[last] = value
        elif last:
            found[last] += "," + part
    return found
