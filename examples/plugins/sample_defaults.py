"""What all sample DAGs have in common."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sample_marks import mark

DATA = Path(__file__).resolve().parent.parent / "data"

DEFAULT_ARGS = {
    "owner": "samples",
    "retries": 0,
    "retry_delay": timedelta(seconds=1),
    "execution_timeout": timedelta(minutes=5),
    "pre_execute": mark,
}

COMMON = {
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,
    "access_control": {"spinner-users": {"can_dag_read", "can_dag_edit"}},
    "owner": "samples",
    "project": "samples",
    "role_emails": ["samples@example.com"],
    "max_active_runs": 4,
    "default_args": DEFAULT_ARGS,
}
