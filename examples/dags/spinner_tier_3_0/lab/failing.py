"""Fails on purpose: a column that the table does not have. For the diagnosis."""

import csv

from sample_defaults import COMMON, DATA
from spinner import DAG, EmptyOperator, Tier, task

with DAG("sample_failing", tier=Tier.TIER3, tags=["sample", "failure"], doc_md=__doc__, **COMMON):

    @task
    def read():
        with (DATA / "elements.csv").open() as file:
            return list(csv.DictReader(file))

    @task(retries=1)
    def heaviest(rows):
        return max(rows, key=lambda row: float(row["mass"]))["name"]

    @task
    def independent():
        return "this one works"

    heaviest(read()) >> EmptyOperator(task_id="never_reached")
    independent()
