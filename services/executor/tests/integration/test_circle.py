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
    assert stage.log_of(ended) == b"hello from one\n"
    tries = tmp_path / "data" / "tries"
    until(lambda: not list(tries.glob("*/*")), "the try's folder is removed after the tombstone")


def test_a_log_that_follows_its_end_survives_the_executor(stage: Stage, tmp_path: Path) -> None:
    in_the_way = tmp_path / "objects" / "logs"
    executor = stage.executor()
    order = stage.order("one", stage.bundle(dag=APPEND.format(path=str(tmp_path / "ran"))), "dag.py")
    in_the_way.touch()  # where the store makes a folder
    stage.write(order)
    ended = stage.wait(order).ended
    assert ended.outcome == c.OUTCOME_SUCCESS
    assert ended.log_bytes == len(b"hello from one\n")
    executor.kill()
    executor.wait()
    in_the_way.unlink()
    stage.executor()
    assert stage.log_of(ended) == b"hello from one\n"
    until(lambda: not list((tmp_path / "data" / "tries").glob("*/*")), "then the try's folder is removed")


def test_while_the_store_is_away_ends_say_so(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir(exist_ok=True)
    bundle = stage.bundle(dag=APPEND.format(path=str(tmp_path / "ran")))
    in_the_way = tmp_path / "objects" / "logs"
    in_the_way.touch()
    stage.executor()
    outcomes = []
    for number in range(2):
        order = stage.order(f"t{number}", bundle, "dag.py")
        stage.write(order)
        ended = stage.wait(order).ended
        (upload,) = (s for s in ended.stages if s.stage == c.STAGE_LOG_UPLOAD)
        outcomes.append(upload.outcome)
        if number == 0:
            until(lambda: "is not uploaded yet" in _executor_log(tmp_path), "the executor has found out")
    assert outcomes == [c.STAGE_OUTCOME_SUCCESS, c.STAGE_OUTCOME_FAILED]
    in_the_way.unlink()
    until(lambda: stage.store.exists("logs/d/" + stage.run_id + "/t0/-1/1.log"), "the first log comes late")


def _executor_log(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("executor-*.log"))
