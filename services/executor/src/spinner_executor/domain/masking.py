"""Secrets are masked whenever log text leaves the worker's file.

The mask has the secret's length, so a byte's offset is the same in the worker's file, in every chunk and in the
final object: a reader can go on from any offset, and nothing is read twice. Text is cut at line ends, and a
secret of several lines is masked line by line; a line so long that it is cut inside is masked with its surroundings.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

# Shorter words ("a", "42") would blacken innocent text.
MIN_SECRET_LENGTH = 4


class Masker:
    """The secrets of one try. Grows; thread-safe by replacing its pattern as a whole."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._words: set[bytes] = set()
        self._everything = False
        self._pattern: re.Pattern[bytes] | None = None
        self.add(secrets)

    @property
    def words(self) -> list[str]:
        """What is masked, to give to another masker."""
        return sorted(word.decode() for word in self._words)

    def add(self, secrets: Iterable[str]) -> bool:
        """Takes more secrets in; True when something new was among them."""
        words = {
            form.encode()
            for secret in secrets
            for line in secret.splitlines()
            for form in _forms(line.strip())
            if len(form) >= MIN_SECRET_LENGTH
        }
        if words <= self._words:
            return False
        self._words |= words
        if self._everything:
            return True
        longest_first = sorted(self._words, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(re.escape(word) for word in longest_first))
        return True

    def mask_everything(self) -> None:
        """For when it isn't known what is secret."""
        self._everything = True
        self._pattern = re.compile(rb"\S")

    @property
    def reach(self) -> int:
        """How many bytes around a piece of text can belong to a secret that begins or ends in it."""
        return max(map(len, self._words), default=0)

    def mask(self, text: bytes, start: int = 0, end: int | None = None) -> bytes:
        """Returns `text[start:end]` with every secret in `text` replaced by as many asterisks.

        Invalid UTF-8 becomes question marks.
        """
        pattern = self._pattern
        if pattern is not None:
            text = pattern.sub(lambda match: b"*" * len(match.group()), text)
        return valid_utf8(text[start:end])


def _forms(text: str) -> tuple[str, ...]:
    """What a text looks like where it is printed: as it is, in Python's and JSON's quotes, in a URL."""
    return text, repr(text)[1:-1], json.dumps(text)[1:-1], quote(text), quote(text, safe=""), quote_plus(text)


def _question_marks(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - it is registered for decoding only
    return "?" * (error.end - error.start), error.end


codecs.register_error("spinner_question_marks", _question_marks)


def valid_utf8(text: bytes) -> bytes:
    """Replaces each byte that is not part of valid UTF-8 by "?", keeping the length."""
    try:
        text.decode()
        return text
    except UnicodeDecodeError:
        return text.decode("utf-8", "spinner_question_marks").encode()


def whole_lines(data: bytes, limit: int) -> bytes:
    """Returns the part of `data` up to its last line end; a line longer than `limit` bytes is cut inside."""
    end = data.rfind(b"\n")
    if end >= 0:
        return data[: end + 1]
    if len(data) < limit:
        return b""
    cut = len(data)
    while cut > len(data) - 4 and cut > 0 and data[cut - 1] & 0xC0 == 0x80:
        cut -= 1
    if cut and data[cut - 1] >= 0xC0:
        cut -= 1
    return data[:cut]
