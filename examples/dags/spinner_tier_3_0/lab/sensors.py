"""Sensors in their three modes, each waiting a second or two."""

from datetime import UTC, datetime, timedelta

from sample_defaults import COMMON
from spinner import DAG, Tier, task
from spinner.sensors import DateTimeSensor, FileSensor

with DAG("sample_sensors", tier=Tier.TIER3, tags=["sample", "sensor"], doc_md=__doc__, **COMMON):

    @task
    def moment():
        return (datetime.now(UTC) + timedelta(seconds=2)).isoformat()

    @task.sensor(poke_interval=0.5, timeout=60, mode="poke")
    def poke(since):
        return datetime.now(UTC) >= datetime.fromisoformat(since)

    @task.sensor(poke_interval=1, timeout=60, mode="reschedule")
    def reschedule(since):
        return datetime.now(UTC) >= datetime.fromisoformat(since)

    since = moment()
    deferred = DateTimeSensor(task_id="deferred", target_time=since, deferrable=True, timeout=60)
    file = FileSensor(task_id="file", filepath=__file__, poke_interval=1, timeout=60)
    late = DateTimeSensor(
        task_id="gives_up", target_time="2099-01-01T00:00:00+00:00", poke_interval=0.5, timeout=1, soft_fail=True
    )

    @task(trigger_rule="none_failed")
    def done():
        print("all sensors are through")

    [poke(since), reschedule(since), deferred, file, since >> late] >> done()
