"""Orders in, reports out, over real Kafka with a scripted scheduler."""

from __future__ import annotations

from pathlib import Path

from spinner_proto.common.v1 import common_pb2 as c
from stage import Stage, until

APPEND = """
def task(client, work):
    with open({path!r}, "a") as file:
        file.write(work.order.try_key.task_id + "\\n")
    print("hello from", work.order.try_key.task_id)
"""


def test_a_task_of_a_bundle_runs_and_its_end_log_and_stages_are_reported(stage: Stage, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    stage.executor()
    order = stage.order("one", stage.bundle(dag=APPEND.format(path=str(ran))), "dag.py")
    stage.write(order)
    ended = stage.wait(order).ended
    assert ended.outcome == c.OUTCOME_SUCCESS
    assert ran.read_text() == "one\n"
    assert [r.WhichOneof("kind") for r in stage.reports] == ["started", "ended"]
    assert [s.stage for s in ended.stages] == [c.STAGE_QUEUE, c.STAGE_LAUNCH, c.STAGE_LOG_UPLOAD]
    assert stage.store.get(ended.log_key) == b"hello from one\n"
    tries = tmp_path / "data" / "tries"
    until(lambda: not list(tries.glob("*/*")), "the try's folder is removed after the tombstone")
