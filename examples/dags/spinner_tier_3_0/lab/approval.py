"""People decide: an approval, a choice of the way to go on with a form beside it, and what happens when nobody answers.

Decide in the UI (Required actions), or `spinner decisions list` and `spinner decisions decide`. After a few seconds
the defaults are taken, so that a run ends by itself.
"""

from sample_defaults import COMMON
from spinner import DAG, Param, Tier, task
from spinner.operators.human import ApprovalOperator, HITLBranchOperator

with DAG("sample_approval", schedule=None, tier=Tier.TIER3, tags=["sample", "human"], doc_md=__doc__, **COMMON):

    @task
    def count():
        return 42

    approve = ApprovalOperator(
        task_id="approve",
        subject="Publish the figures of {{ ds }}?",
        body="There are **{{ ti.xcom_pull('count') }}** of them. Nobody has *checked* them yet.",
        defaults="Approve",
        response_timeout=5,
    )
    where = HITLBranchOperator(
        task_id="where",
        subject="Where to?",
        options_mapping={"To the web": "web", "Only by mail": "mail"},
        defaults="To the web",
        params={"copies": Param(1, type="integer", minimum=1, maximum=9, description="How many copies")},
        response_timeout=5,
    )
    reject = ApprovalOperator(
        task_id="archive_old", subject="Remove the old figures?", defaults="Reject", response_timeout=5
    )

    @task
    def web(ti=None):
        return ti.xcom_pull("where")["params_input"]["copies"]

    @task
    def mail():
        raise AssertionError("must be skipped: nobody chose it")

    @task
    def remove():
        raise AssertionError("must be skipped: nobody approved it")

    count() >> approve >> where >> [web(), mail()]
    reject >> remove()
