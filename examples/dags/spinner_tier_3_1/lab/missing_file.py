"""Fails on purpose: a file that nobody wrote. For the diagnosis."""

from sample_defaults import COMMON
from spinner import DAG, Tier, task

with DAG("sample_missing_file", tier=Tier.TIER3, tags=["sample", "failure"], doc_md=__doc__, **COMMON):

    @task
    def read_export():
        with open("/nowhere/exports/planets-2026.csv") as file:
            return file.read()

    @task
    def count(text):
        return len(text)

    count(read_export())
