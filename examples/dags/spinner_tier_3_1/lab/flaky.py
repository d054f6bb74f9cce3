"""Fails twice, and succeeds on the third try."""

from sample_defaults import COMMON
from spinner import DAG, BashOperator, Tier, task

with DAG("sample_flaky", tier=Tier.TIER3, tags=["sample", "retry"], doc_md=__doc__, **COMMON):

    @task(retries=3)
    def third_time_lucky(ti=None):
        if ti.try_number < 3:
            raise ConnectionError(f"try {ti.try_number}: connection refused by warehouse.example:5432")
        return ti.try_number

    command = BashOperator(
        task_id="second_time_lucky",
        retries=2,
        bash_command="echo try {{ ti.try_number }}; test {{ ti.try_number }} -ge 2",
    )

    @task
    def after(tries):
        assert tries == 3, tries

    after(third_time_lucky())
    command
