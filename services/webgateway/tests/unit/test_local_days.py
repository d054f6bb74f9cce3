"""Days of a zone are spans without gaps, whatever its clock does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from spinner_proto.definitions.v1 import definitions_pb2
from spinner_webgateway.domain import local_days

HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("zone", "lengths", "span_count"),
    [
        ("UTC", {24}, 1),
        ("Asia/Kolkata", {24}, 1),
        ("Europe/Berlin", {23, 24, 25}, 5),
        # Its clock goes back by half an hour.
        ("Australia/Lord_Howe", {23.5, 24, 24.5}, 5),
        # Its clock changes at midnight: a day without its first hour.
        ("America/Santiago", {23, 24, 25}, 5),
    ],
)
def test_a_year_has_few_spans(zone: str, lengths: set[float], span_count: int) -> None:
    edges = local_days.boundaries(zone, date(2026, 1, 1), date(2026, 12, 31))
    assert len(edges) == 366
    assert {(end - start) / HOUR for start, end in pairwise(edges)} == lengths
    found = local_days.spans(edges)
    assert len(found) == span_count
    assert [span.end for span in found[:-1]] == [span.start for span in found[1:]]
    assert (found[0].start, found[-1].end) == (edges[0], edges[-1])
    assert all((span.end - span.start) % local_days.DAY == 0 for span in found if span.regular)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Santiago", "Pacific/Kiritimati"])
def test_a_moment_lies_in_the_day_of_its_date(zone: str) -> None:
    edges = local_days.boundaries(zone, date(2026, 1, 1), date(2026, 12, 31))
    moment = datetime(2026, 1, 1, 12, 30, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    while moment.astimezone(ZoneInfo(zone)).year == 2026:
        value = int(moment.timestamp()) * 1_000_000
        day = local_days.day_of(zone, value)
        n = (day - date(2026, 1, 1)).days
        assert edges[n] <= value < edges[n + 1]
        moment += timedelta(hours=7)


def test_the_zone_is_that_of_the_schedule() -> None:
    assert local_days.zone_name(None) == "UTC"
    definition = definitions_pb2.DagDefinition()
    assert local_days.zone_name(definition) == "UTC"
    definition.schedule.cron.timezone = "Europe/Berlin"
    assert local_days.zone_name(definition) == "Europe/Berlin"
    definition.schedule.delta.timezone = "Asia/Tokyo"
    assert local_days.zone_name(definition) == "Asia/Tokyo"
    definition.schedule.assets.or_time.delta.timezone = "America/Santiago"
    assert local_days.zone_name(definition) == "America/Santiago"
    definition.schedule.cron.timezone = "Nowhere/Land"
    assert local_days.zone_name(definition) == "UTC"
