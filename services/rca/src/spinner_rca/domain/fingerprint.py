"""The part of a message that is the same each time: numbers, ids, paths and times are folded."""

from __future__ import annotations

import hashlib
import re

_FOLDS = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ][\d:.]+(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"]+", re.IGNORECASE), "<url>"),
    (re.compile(r"(?:/[\w.@=+-]+){2,}/?"), "<path>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<address>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<number>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\d+(?:[.,]\d+)*"), "<number>"),
    (re.compile(r"\s+"), " "),
)
MAX_CHARS = 300


def fold(text: str) -> str:
    """Returns the message with what varies folded."""
    for pattern, word in _FOLDS:
        text = pattern.sub(word, text)
    return text.strip()[:MAX_CHARS]


def fingerprint(category: str, text: str) -> str:
    """Returns "category:" and 16 hexadecimal digits, the same for failures that differ in numbers and names only."""
    return f"{category}:{hashlib.sha256(fold(text).encode()).hexdigest()[:16]}"
