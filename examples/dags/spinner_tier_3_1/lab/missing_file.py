"""Fails on purpose: a file that nobody wrote. For the diagnosis."""

from pathlib import Path

from sample_defaults import COMMON
from spinner import DAG, Tier, task

with DAG("sample_missing_file", tier=Tier.TIER3, tags=["sample", "failure"], doc_md=__doc__, **COMMON):

    @task
    def read_export():
        return Path("/nowhere/exports/planets-2026.csv").read_text()

    @task
    def count(text):
        return len(text)

    count(read_export())
