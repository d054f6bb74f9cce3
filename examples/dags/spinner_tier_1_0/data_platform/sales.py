"""Updates two partitions of an asset; sample_sales_report, in another tier, has a run for each of them."""

from datetime import timedelta

from sample_defaults import COMMON
from spinner import DAG, Asset, Tier, task


def alert(context):
    print(context["asset"].name, "is stale:", context["reason"])


SALES = Asset("sample/sales", freshness=timedelta(days=1), on_stale_callback=alert)

with DAG("sample_sales", tier=Tier.TIER1, tags=["sample", "asset"], doc_md=__doc__, **COMMON):

    @task(outlets=[SALES])
    def collect(outlet_events=None):
        for region in ("north", "south"):
            outlet_events[SALES].add(SALES, {"rows": 3}, partition_key=region)

    collect()
