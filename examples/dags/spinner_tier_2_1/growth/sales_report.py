"""Has a run for each partition of sample/sales that was updated; the key is the name of the region."""

from sample_defaults import COMMON
from spinner import DAG, Asset, PartitionedAssetTimetable, Tier, task

with DAG(
    "sample_sales_report",
    schedule=PartitionedAssetTimetable(assets=Asset("sample/sales")),
    tier=Tier.TIER2,
    tags=["sample", "asset"],
    doc_md=__doc__,
    **COMMON,
):

    @task
    def report(dag_run=None):
        print("The sales of", dag_run.partition_key)

    report()
