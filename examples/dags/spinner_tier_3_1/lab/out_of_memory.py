"""Fails on purpose: asks for more memory than its limit. For the diagnosis."""

from sample_defaults import COMMON
from spinner import DAG, Tier, task

with DAG("sample_out_of_memory", tier=Tier.TIER3, tags=["sample", "failure"], doc_md=__doc__, **COMMON):

    @task(executor_config={"KubernetesExecutor": {"request_memory": "128Mi", "limit_memory": "256Mi"}})
    def hoard():
        hoarded = bytearray(1 << 30)
        raise MemoryError(f"{len(hoarded)} bytes did fit: this executor does not limit memory")

    hoard()
