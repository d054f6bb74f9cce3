"""One DAG starts another, and waits for one of its tasks; no worker and no question while it does."""

from sample_defaults import COMMON
from spinner import DAG, BashOperator, Tier
from spinner.operators.trigger_dagrun import TriggerDagRunOperator
from spinner.sensors.external_task import ExternalTaskSensor

with DAG("sample_parent", tier=Tier.TIER1, tags=["sample", "cross-dag"], doc_md=__doc__, **COMMON):
    trigger = TriggerDagRunOperator(
        task_id="trigger_child",
        trigger_dag_id="sample_child",
        logical_date="{{ ts }}",
        conf={"asked_by": "{{ run_id }}"},
    )
    wait = ExternalTaskSensor(
        task_id="wait_for_child",
        external_dag_id="sample_child",
        external_task_id="finish",
        failed_states=["failed", "upstream_failed", "skipped"],
        deferrable=True,
        timeout=120,
    )
    trigger >> wait >> BashOperator(task_id="done", bash_command="echo the child of {{ run_id }} has finished")
