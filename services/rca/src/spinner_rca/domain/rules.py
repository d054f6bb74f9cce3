"""The rule file: what failures look like, whose they are and how they are mended."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import re2  # type: ignore[import-untyped]
import yaml


class RulesInvalid(ValueError):  # noqa: N818 - an answer
    """The rule file can't be used; says which rule and why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of failure."""

    id: str
    category: str
    title: str
    owner: str
    confidence: float
    how_to_fix: str
    patterns: tuple[tuple[str, int], ...] = ()
    """Regular expressions (RE2) searched in each line, with weights: a higher one is a surer sign."""
    outcomes: frozenset[str] = frozenset()
    exceptions: frozenset[str] = frozenset()
    but_not: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules; `unknown` is the answer when none applies."""

    version: str
    rules: tuple[Rule, ...]
    unknown: Rule
    by_outcome: Mapping[str, Rule] = field(default_factory=dict)
    by_exception: Mapping[str, Rule] = field(default_factory=dict)
    matcher: Matcher | None = None

    def matches(self, line: str) -> list[tuple[Rule, int]]:
        """Returns the rules that a line speaks for, each with the weight of its surest pattern."""
        return self.matcher.matches(line) if self.matcher else []


class Matcher:
    """All patterns as one automaton (RE2): a line costs its length, not the number of patterns. Thread-safe."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._set = re2.Set.SearchSet()
        self._owners: list[tuple[Rule, int]] = []
        for rule in rules:
            for pattern, weight in rule.patterns:
                try:
                    self._set.Add(pattern)
                except re2.error as error:
                    reason = error.args[0] if error.args else error
                    raise RulesInvalid(f"rule {rule.id}: {pattern!r} is not a regular expression: {reason}") from error
                self._owners.append((rule, weight))
        self._set.Compile()

    def matches(self, line: str) -> list[tuple[Rule, int]]:
        found: dict[str, tuple[Rule, int]] = {}
        for index in self._set.Match(line) or ():
            rule, weight = self._owners[index]
            if rule.id not in found or weight > found[rule.id][1]:
                found[rule.id] = (rule, weight)
        return [(rule, weight) for rule, weight in found.values() if not (rule.but_not and rule.but_not.search(line))]


def load_rules(text: str) -> Rules:
    """Returns the rules of a YAML text; raises RulesInvalid."""
    try:
        content = yaml.safe_load(text)
        rules = tuple(_rule(entry) for entry in content["rules"])
        version = str(content["version"])
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise RulesInvalid(f"the rule file is not readable: {error}") from error
    unknown = next((rule for rule in rules if rule.category == "unknown"), None)
    if unknown is None:
        raise RulesInvalid("the rule file has no rule of category unknown, which every other failure needs")
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            raise RulesInvalid(f"rule {rule.id} is there twice")
        seen.add(rule.id)
    return Rules(
        version,
        tuple(rule for rule in rules if rule is not unknown),
        unknown,
        {outcome: rule for rule in reversed(rules) for outcome in rule.outcomes},
        {name: rule for rule in reversed(rules) for name in rule.exceptions},
        Matcher([rule for rule in rules if rule is not unknown]),
    )


def _rule(entry: Mapping[str, Any]) -> Rule:
    name = entry.get("id", "?")
    try:
        if entry["owner"] not in ("user", "platform", "upstream"):
            raise RulesInvalid(f"rule {name}: owner {entry['owner']!r} is not user, platform or upstream")
        return Rule(
            id=entry["id"],
            category=entry["category"],
            title=entry["title"],
            owner=entry["owner"],
            confidence=float(entry["confidence"]),
            how_to_fix=" ".join(entry["how_to_fix"].split()),
            patterns=tuple((p["regex"], int(p["weight"])) for p in entry["patterns"]),
            outcomes=frozenset(entry.get("outcomes", ())),
            exceptions=frozenset(entry.get("exceptions", ())),
            but_not=re.compile(entry["not"]) if "not" in entry else None,
        )
    except KeyError as error:
        raise RulesInvalid(f"rule {name}: {error.args[0]} is missing") from error
    except re.error as error:
        raise RulesInvalid(f"rule {name}: {error.pattern!r} is not a regular expression: {error}") from error
