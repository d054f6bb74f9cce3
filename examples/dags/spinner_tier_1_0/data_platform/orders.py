"""Updates two assets: one by name, one that is named when the task runs. sample_orders_report waits for them."""

from sample_defaults import COMMON
from spinner import DAG, Asset, AssetAlias, Metadata, Tier, task

ORDERS = Asset("sample/orders", "file://sample/orders.csv", extra={"team": "samples"})
FILES = AssetAlias("sample/order_files")

with DAG("sample_orders", tier=Tier.TIER1, tags=["sample", "asset"], doc_md=__doc__, **COMMON):

    @task(outlets=[ORDERS])
    def collect():
        yield Metadata(ORDERS, {"rows": 3})
        return 3

    @task(outlets=[FILES])
    def publish(rows, outlet_events=None, ds=None):
        outlet_events[FILES].add(Asset(f"sample/orders/{ds}"), {"rows": rows})

    publish(collect())
