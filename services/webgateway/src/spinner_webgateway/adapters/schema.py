"""Tables of the views, in SQL that SQLite, MariaDB and MySQL share; each table is declared in `tables`.

Every change of a table needs a migration beside it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, Table

from spinner_webgateway.adapters.tables import columns
from spinner_webgateway.adapters.tables.assets import (
    asset_events,
    asset_partitions,
    asset_runs,
    asset_stales,
    asset_watchers,
    assets,
)
from spinner_webgateway.adapters.tables.backfills import backfill_intervals, backfills
from spinner_webgateway.adapters.tables.columns import CLUSTERED, ascii_text, key, needed
from spinner_webgateway.adapters.tables.dags import dags, definitions, parse_error_history, parse_errors
from spinner_webgateway.adapters.tables.runs import (
    deadlines,
    decisions,
    diagnoses,
    executions,
    run_events,
    runs,
    tasks,
    tries,
)
from spinner_webgateway.adapters.tables.settings import audit, connections, pools, portal, task_resources, variables
from spinner_webgateway.adapters.tables.system import commands, partition_owners, task_usage

metadata = columns.metadata
"""All tables: importing this module declares them."""

positions = Table(
    "positions",
    metadata,
    key("reader", ascii_text(40)),
    key("topic", ascii_text(250)),
    key("partition", Integer),
    needed("next_offset", BigInteger),
    **CLUSTERED,
)

VIEWS: dict[str, Table] = {
    table.name: table
    for table in (
        dags,
        definitions,
        runs,
        tasks,
        tries,
        run_events,
        diagnoses,
        executions,
        parse_errors,
        parse_error_history,
        audit,
        task_usage,
        task_resources,
        pools,
        variables,
        connections,
        portal,
        commands,
        partition_owners,
        backfills,
        backfill_intervals,
        assets,
        asset_events,
        asset_partitions,
        asset_watchers,
        asset_stales,
        asset_runs,
        deadlines,
        decisions,
    )
}
"""Tables that the projection fills, by name."""
