"""C4: the stages that the executor measures itself, merged with those that the worker reports.

QueueStage lasts from the order to the launch (waiting for a free slot), LaunchStage from the launch to the
granted start. A try with several segments keeps the stages of all of them, the latest `MAX_STAGES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from spinner_proto.common.v1.common_pb2 import Stage, StageOutcome, StageResult

MAX_STAGES = 40


def stage_result(
    stage: Stage.ValueType,
    start: datetime,
    end: datetime,
    outcome: StageOutcome.ValueType = StageOutcome.STAGE_OUTCOME_SUCCESS,
    message: str = "",
) -> StageResult:
    result = StageResult(stage=stage, outcome=outcome, message=message)
    result.start_time.FromDatetime(start)
    result.end_time.FromDatetime(max(start, end))
    return result


def executor_stages(
    ordered: datetime | None, launched: datetime | None, started: datetime | None, now: datetime, failure: str = ""
) -> list[StageResult]:
    """QueueStage and LaunchStage; the last one that was begun carries `failure` when the try never started."""
    failed = StageOutcome.STAGE_OUTCOME_FAILED
    if launched is None:
        if ordered is None:
            return []
        return [stage_result(Stage.STAGE_QUEUE, ordered, now, failed, failure)]
    stages = [stage_result(Stage.STAGE_QUEUE, ordered or launched, launched)]
    if started is not None:
        stages.append(stage_result(Stage.STAGE_LAUNCH, launched, started))
    else:
        stages.append(stage_result(Stage.STAGE_LAUNCH, launched, now, failed, failure))
    return stages


def merge(
    earlier: Sequence[StageResult], own: Sequence[StageResult], reported: Sequence[StageResult]
) -> list[StageResult]:
    """All stages of a try in order: earlier segments, the executor's, then the worker's without duplicates."""
    taken = {result.stage for result in own}
    return [*earlier, *own, *(result for result in reported if result.stage not in taken)][-MAX_STAGES:]
