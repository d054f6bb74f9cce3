"""What a committed batch changed, in the terms of those who wait for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from spinner_webgateway.domain.rows import Row, WorkingSet


@dataclass(slots=True)
class Change:
    """Changes since the last look; merging two loses nothing."""

    dags: set[str] = field(default_factory=set)
    runs: set[tuple[str, str]] = field(default_factory=set)
    parse_errors: bool = False
    # Answers to commands, by request id.
    commands: dict[str, Row] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.dags or self.runs or self.parse_errors or self.commands)

    def merge(self, other: Change) -> None:
        self.dags |= other.dags
        self.runs |= other.runs
        self.parse_errors |= other.parse_errors
        self.commands.update(other.commands)

    def only(self, dag_id: str) -> Change:
        """Returns the part that is about one DAG."""
        return Change(
            {dag for dag in self.dags if dag == dag_id},
            {run for run in self.runs if run[0] == dag_id},
            self.parse_errors,
            dict(self.commands),
        )

    def visible(self) -> bool:
        """True when a page shows something of it."""
        return bool(self.dags or self.runs or self.parse_errors)


def change_of(rows: WorkingSet) -> Change:
    """Returns what the working set changed."""
    change = Change()
    change.dags.update(key[0] for key in rows.changed["dags"])
    change.dags.update(key[0] for key in rows.changed["definitions"])
    change.dags.update(key[0] for key in rows.changed["backfills"])
    change.dags.update(key[2] for key in rows.changed["asset_runs"])
    for table in ("runs", "tasks", "tries", "diagnoses", "deadlines"):
        change.runs.update((key[0], key[1]) for key in rows.changed[table])
    change.dags.update(dag_id for dag_id, _ in change.runs)
    change.parse_errors = bool(rows.changed["parse_errors"] or rows.changed["parse_error_history"])
    for key in rows.changed["commands"]:
        row = rows.get("commands", key)
        if row is not None:
            change.commands[str(key[0])] = row
    return change
