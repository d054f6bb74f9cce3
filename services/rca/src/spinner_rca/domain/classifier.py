"""Why a try failed: from its outcome, its exception and the lines of its log. Pure and deterministic.

How it decides:

1. An outcome that only the platform can know (evicted, out of memory, killed by a person) is believed.
2. Otherwise every line that speaks of a failure is scored by the rules. What ended the try stands at the end of the
   log, and the last line of a traceback names its cause: such lines count more, and lines that only mention a word
   (levels below ERROR, counts of zero, caught and retried problems) count less.
3. Nothing found: the exception classes, then the outcome, then the one-line message decide; else it is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from spinner_rca.domain.fingerprint import fingerprint
from spinner_rca.domain.rules import Rule, Rules

DECISIVE_OUTCOMES = frozenset(
    {
        "out_of_memory",
        "node_out_of_memory",
        "timed_out",
        "killed_by_user",
        "deleted",
        "evicted",
        "preempted",
        "node_lost",
        "lost",
        "image_pull_failed",
        "config_error",
        "never_scheduled",
    }
)
MAX_EVIDENCE = 6
MAX_LINE_CHARS = 4000
STAMP = re.compile(r"\[\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)\] \{(?P<stage>\w*)\} (?P<level>[A-Z]+) [^\s:]*: ?")
TRACEBACK = "Traceback (most recent call last):"
RAISED = re.compile(r"^(?P<name>(?:[A-Za-z_]\w*\.)*[A-Z_]\w*)(?:: |:?$)")
HANDLED = re.compile(
    r"(?i)\b(retry(ing)?|retries left|will (be )?retr|ignor(ed|ing)|recovered|succeeded|skipping|fall(ing)? ?back"
    r"|caught|handled|suppress(ed)?|no (errors?|failures?)|0 (errors?|failed|failures?)|if .{0,40} occurs"
    r"|config(ured)?:|--?[\w-]*(timeout|retries)|(timeout|retries|max_retries)=)"
)
LEVEL_FACTOR = {"DEBUG": 0.35, "INFO": 0.45, "WARNING": 0.6, "WARN": 0.6, "ERROR": 1.1, "CRITICAL": 1.15, "FATAL": 1.15}


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known of a failed try. `log` is the end of it; its first line has the number `first_line`."""

    outcome: str
    message: str = ""
    exception_classes: Sequence[str] = ()
    log: str = ""
    first_line: int = 1


@dataclass(frozen=True, slots=True)
class Evidence:
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The rule that applies, how sure that is (0 to 1), the lines that show it, and the cause's fingerprint."""

    rule: Rule
    confidence: float
    evidence: tuple[Evidence, ...]
    fingerprint: str


@dataclass(slots=True)
class _Hit:
    score: float
    index: int
    rule: Rule


def classify(failure: Failure, rules: Rules) -> Verdict:
    """Returns the verdict. Never raises; costs a few microseconds a line."""
    lines = [line[:MAX_LINE_CHARS] for line in failure.log.splitlines()]
    hits = _score(lines, rules)
    decided = rules.by_outcome.get(failure.outcome)
    if decided is not None and failure.outcome in DECISIVE_OUTCOMES:
        own = [hit for hit in hits if hit.rule is decided]
        return _verdict(decided, decided.confidence, own, lines, failure)
    best = max(hits, key=lambda hit: (hit.score, hit.index), default=None)
    named = _by_exception(failure.exception_classes, rules)
    if best is not None and named is not None and best.rule is not named and best.score < 62:
        best = None
    if best is not None:
        own = [hit for hit in hits if hit.rule is best.rule]
        sure = best.rule.confidence * min(1.0, 0.6 + best.score / 240)
        return _verdict(best.rule, sure, own, lines, failure)
    if named is not None:
        return _verdict(named, named.confidence * 0.9, [], lines, failure)
    message_hits = _score([failure.message[:MAX_LINE_CHARS]], rules)
    if message_hits:
        best = max(message_hits, key=lambda hit: hit.score)
        return _verdict(best.rule, best.rule.confidence * 0.8, [], lines, failure)
    if decided is not None:
        return _verdict(decided, decided.confidence * 0.8, [], lines, failure)
    return _verdict(rules.unknown, rules.unknown.confidence, [], lines, failure)


def _by_exception(classes: Sequence[str], rules: Rules) -> Rule | None:
    for name in classes:
        rule = rules.by_exception.get(name.rpartition(".")[2])
        if rule is not None:
            return rule
    return None


def _score(lines: Sequence[str], rules: Rules) -> list[_Hit]:
    factors = _factors(lines)
    hits = []
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        for rule, weight in rules.matches(line):
            hits.append(_Hit(weight * factors[index], index, rule))
    return [hit for hit in hits if hit.score >= 25]


def _factors(lines: Sequence[str]) -> list[float]:
    """How much a line counts: by its level, by what it says of itself, by its place."""
    factors = []
    level = ""
    in_traceback = False
    raised: list[int] = []
    for index, line in enumerate(lines):
        stamp = STAMP.match(line)
        if stamp:
            level = stamp.group("level")
            in_traceback = False
        text = line[stamp.end() :] if stamp else line
        if TRACEBACK in text:
            in_traceback = True
        factor = LEVEL_FACTOR.get(level if stamp else "", 0.9)
        if in_traceback:
            if text.startswith((" ", "\t")):
                factor = 0.25
            elif RAISED.match(text):
                factor = 1.25
                raised.append(index)
                in_traceback = False
        if HANDLED.search(text):
            factor *= 0.45
        factors.append(factor)
    if raised:
        # The last exception is the one that ended the try; those before it were its causes or were survived.
        for index in raised[:-1]:
            factors[index] *= 0.8
        last = raised[-1]
        for index in range(len(lines)):
            if index < last - 200:
                factors[index] *= 0.8
    total = len(lines)
    for index in range(total):
        factors[index] *= 0.9 + 0.1 * (index + 1) / total
    return factors


def _verdict(rule: Rule, confidence: float, hits: list[_Hit], lines: Sequence[str], failure: Failure) -> Verdict:
    best = sorted(hits, key=lambda hit: (-hit.score, -hit.index))
    chosen = sorted({hit.index for hit in best[:MAX_EVIDENCE]})
    evidence = tuple(Evidence(failure.first_line + index, lines[index]) for index in chosen)
    cause = lines[best[0].index] if best else (failure.message or _last_line(lines))
    stamp = STAMP.match(cause)
    text = cause[stamp.end() :] if stamp else cause
    return Verdict(rule, round(confidence, 3), evidence, fingerprint(rule.category, text))


def _last_line(lines: Sequence[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "")
