"""Schedules and spans in words."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from spinner_proto.definitions.v1 import definitions_pb2 as d
from spinner_webgateway.domain.words import schedule_text, span

ASSET = d.AssetExpression


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (d.Schedule(none=d.NoSchedule()), "No schedule: runs are triggered"),
        (d.Schedule(once=d.OnceSchedule()), "Once"),
        (
            d.Schedule(cron=d.CronSchedule(expressions=["30 2 * * *"], timezone="Europe/Berlin")),
            "At 02:30 (Europe/Berlin)",
        ),
        (d.Schedule(cron=d.CronSchedule(expressions=["nonsense"])), "nonsense (UTC)"),
        (d.Schedule(cron=d.CronSchedule(expressions=["0 6 * * * 30"])), "At 06:00:30 (UTC)"),
        (d.Schedule(delta=d.DeltaSchedule(period=Duration(seconds=5400))), "Every 1 h 30 min"),
        (d.Schedule(delta=d.DeltaSchedule(months=1)), "Every month"),
        (
            d.Schedule(
                assets=d.AssetSchedule(
                    expression=ASSET(any=d.AssetExpressions(items=[ASSET(asset="a"), ASSET(asset="b")]))
                )
            ),
            "When (a or b) is updated",
        ),
    ],
)
def test_schedules_are_said_in_words(schedule: d.Schedule, text: str) -> None:
    assert schedule_text(schedule) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (0.25, "250 ms"), (61, "1 min 1 s"), (90061, "1 d 1 h")])
def test_spans_are_short(seconds: float, text: str) -> None:
    assert span(seconds) == text
