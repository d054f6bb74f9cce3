"""Starts when sample_orders, in another tier, has updated its asset and published a file through its alias."""

from sample_defaults import COMMON
from spinner import DAG, Asset, AssetAlias, Tier, task

with DAG(
    "sample_orders_report",
    schedule=Asset("sample/orders") & AssetAlias("sample/order_files"),
    tier=Tier.TIER2,
    tags=["sample", "asset"],
    doc_md=__doc__,
    **COMMON,
):

    @task
    def report(triggering_asset_events=None):
        for asset, events in triggering_asset_events.items():
            for event in events:
                print(asset.name, event.extra, "by", event.source_dag_id, event.source_run_id)

    report()
