"""A heavy fan-out: one task, two hundred, one."""

from sample_defaults import COMMON
from spinner import DAG, Tier, task

with DAG("sample_fan_out", tier=Tier.TIER2, tags=["sample", "fan-out"], doc_md=__doc__, **COMMON):

    @task
    def numbers():
        return list(range(200))

    @task
    def square(n):
        return n * n

    @task
    def total(squares):
        result = sum(squares)
        assert result == sum(n * n for n in range(200)), result
        return result

    total(square.expand(n=numbers()))
