"""Branches: left by default, right with conf {"side": "right"}; both meet again."""

from sample_defaults import COMMON
from spinner import DAG, EmptyOperator, Label, Tier, task

with DAG(
    "sample_branching", schedule="*/3 * * * *", tier=Tier.TIER2, tags=["sample", "branch"], doc_md=__doc__, **COMMON
):

    @task.branch
    def choose(dag_run=None):
        return dag_run.conf.get("side", "left")

    @task
    def left():
        return "left"

    @task
    def right():
        return "right"

    join = EmptyOperator(task_id="join", trigger_rule="none_failed_min_one_success")

    @task(trigger_rule="none_failed_min_one_success")
    def report(ti=None):
        taken = [side for side in ti.xcom_pull(task_ids=["left", "right"]) if side]
        assert len(taken) == 1, taken
        print("went", taken[0])

    branch = choose()
    branch >> Label("default") >> left() >> join
    branch >> Label("conf side=right") >> right() >> join
    join >> report()
