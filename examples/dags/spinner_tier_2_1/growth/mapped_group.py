"""A task group that is expanded: each element of the list passes through all tasks of the group."""

from sample_defaults import COMMON
from spinner import DAG, Tier, task, task_group

with DAG("sample_mapped_group", tier=Tier.TIER2, tags=["sample", "mapping"], doc_md=__doc__, **COMMON):

    @task
    def symbols():
        return ["H", "He", "Li"]

    @task_group
    def element(symbol):
        @task
        def fetch(symbol):
            return symbol.lower()

        @task
        def store(value):
            return f"stored {value}"

        store(fetch(symbol))

    @task
    def summary(ti=None):
        stored = ti.xcom_pull(task_ids="element.store")
        assert stored == ["stored h", "stored he", "stored li"], stored

    element.expand(symbol=symbols()) >> summary()
