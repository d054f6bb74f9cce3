"""Short circuits, both kinds, and LatestOnly."""

from sample_defaults import COMMON
from spinner import DAG, EmptyOperator, Tier, task
from spinner.operators.latest_only import LatestOnlyOperator

with DAG(
    "sample_short_circuit", schedule="*/4 * * * *", tier=Tier.TIER3, tags=["sample", "branch"], doc_md=__doc__, **COMMON
):

    @task.short_circuit
    def stop():
        return False

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def stop_next():
        return False

    @task
    def skipped_1():
        raise AssertionError("must be skipped")

    @task(trigger_rule="all_done")
    def skipped_2():
        raise AssertionError("must be skipped: the short circuit ignores trigger rules")

    @task
    def skipped_3():
        raise AssertionError("must be skipped")

    @task(trigger_rule="all_done")
    def runs_anyway():
        return "all_done counts here"

    stop() >> skipped_1() >> skipped_2()
    stop_next() >> skipped_3() >> runs_anyway()
    LatestOnlyOperator(task_id="latest_only") >> EmptyOperator(task_id="newest_run")
