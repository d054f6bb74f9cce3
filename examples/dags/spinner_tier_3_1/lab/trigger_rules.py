"""Trigger rules around one success, one failure and one skipped task; the run fails because of the failure."""

from sample_defaults import COMMON
from spinner import DAG, EmptyOperator, SkipTask, Tier, task

RULES_THAT_RUN = ("all_done", "one_success", "one_failed", "one_done", "all_done_min_one_success", "always")
RULES_THAT_DO_NOT = ("all_failed", "all_skipped", "none_skipped")
RULES_THAT_FAIL = ("all_success", "none_failed", "none_failed_min_one_success")

with DAG("sample_trigger_rules", tier=Tier.TIER3, tags=["sample", "trigger-rule"], doc_md=__doc__, **COMMON) as dag:

    @task
    def good():
        return 1

    @task
    def bad():
        raise ValueError("fails on purpose")

    @task
    def absent():
        raise SkipTask("skips on purpose")

    upstream = [good(), bad(), absent()]
    for rule in (*RULES_THAT_RUN, *RULES_THAT_DO_NOT, *RULES_THAT_FAIL):
        # all_success takes the state of the first to end of a failed and a skipped task: here it sees no skipped one.
        upstream[: 2 if rule == "all_success" else 3] >> EmptyOperator(task_id=f"rule_{rule}", trigger_rule=rule)
