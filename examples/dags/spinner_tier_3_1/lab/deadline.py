"""A run that misses its deadline: the callback is called while the run goes on. Its task is in time."""

from datetime import timedelta

from sample_defaults import COMMON
from spinner import DAG, BashOperator, DeadlineAlert, DeadlineReference, Tier


def late(context):
    print("late:", context["deadline"]["name"], "was due at", context["deadline"]["deadline_time"])


with DAG(
    "sample_deadline",
    tier=Tier.TIER3,
    tags=["sample", "deadline"],
    doc_md=__doc__,
    deadline=DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(seconds=2), late, name="quick"),
    **COMMON,
):
    BashOperator(
        task_id="slow",
        bash_command="sleep 4",
        deadline=DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=1), name="slow in an hour"),
    )
