"""Started by sample_parent; shows the conf that it was given."""

from sample_defaults import COMMON
from spinner import DAG, BashOperator, Tier, task

with DAG("sample_child", tier=Tier.TIER1, tags=["sample", "cross-dag"], doc_md=__doc__, **COMMON):

    @task
    def start(dag_run=None):
        print("asked by", dag_run.conf.get("asked_by", "nobody"))

    start() >> BashOperator(task_id="finish", bash_command="echo finished")
