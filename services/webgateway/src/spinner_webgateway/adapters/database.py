"""The database of the views: engine, migrations, batched upserts, clean start.

SQLite (a file, WAL: readers never wait for the projection) by default; MariaDB or MySQL by URL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.engine import URL, make_url

from spinner_webgateway.adapters import schema

CHUNK = 400
"""Rows or keys a statement: below SQLite's limit of 32,766 parameters with the widest table."""


class DatabaseUrlUnsupported(ValueError):  # noqa: N818 - an answer
    """The setting names a database that the views don't run on; says which ones they do."""


def open_database(url: str) -> sa.Engine:
    """Returns an engine for `sqlite:///path` or `mysql+pymysql://user:password@host/name`. Makes SQLite's folder.

    Raises DatabaseUrlUnsupported.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed)
    if parsed.get_backend_name() in ("mysql", "mariadb"):
        if parsed.drivername in ("mysql", "mariadb"):
            parsed = parsed.set(drivername=parsed.drivername + "+pymysql")
        return sa.create_engine(
            parsed.update_query_dict({"charset": "utf8mb4"}),
            pool_size=16,
            max_overflow=16,
            pool_pre_ping=True,
            pool_recycle=1800,
            isolation_level="READ COMMITTED",
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
            # MySQL cuts the texts of group_concat after 1 KiB; this is MariaDB's default.
            connect_args={"init_command": "SET SESSION group_concat_max_len = 1048576"},
        )
    raise DatabaseUrlUnsupported(
        f"SPINNER_DATABASE={parsed.render_as_string()} is not supported: use sqlite:///path/to/views.db or "
        "mysql+pymysql://user:password@host:3306/name"
    )


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()


def _open_sqlite(url: URL) -> sa.Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url,
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
        connect_args={"timeout": 30},
        pool_size=16,
        max_overflow=16,
        poolclass=sa.QueuePool,
    )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # Power loss may lose the last commits, never half of one; the log has them, so nothing is lost.
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA cache_size=-32000")
        cursor.execute("PRAGMA mmap_size=268435456")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.close()

    return engine


def migrate(engine: sa.Engine) -> None:
    """Brings the tables to this version's form. Idempotent."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def drop_views(engine: sa.Engine) -> None:
    """Removes every table of the views, whatever version made them."""
    found = sa.MetaData()
    found.reflect(engine)
    known = {*schema.metadata.tables, "views_version"}
    found.drop_all(engine, tables=[table for name, table in found.tables.items() if name in known])


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts whole rows, replacing those with the same primary key."""
    if rows:
        connection.execute(_upsert(table, connection.dialect.name), list(rows))


def delete(connection: sa.Connection, table: sa.Table, keys: Iterable[tuple[Any, ...]]) -> None:
    """Deletes rows by primary key."""
    for part in chunks(list(keys)):
        connection.execute(_delete(table), {"keys": _values(part)})


def fetch(connection: sa.Connection, table: sa.Table, keys: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Returns the rows that exist of these primary keys, in no order."""
    found: list[dict[str, Any]] = []
    for part in chunks(list(keys)):
        result = connection.execute(_select(table), {"keys": _values(part)})
        found.extend(dict(row) for row in result.mappings())
    return found


# Making a statement costs more than running it on some rows.
@cache
def _upsert(table: sa.Table, dialect: str) -> Any:
    names = [column.name for column in table.columns if not column.primary_key]
    if dialect == "sqlite":
        lite = sqlite.insert(table)
        return lite.on_conflict_do_update(
            index_elements=list(table.primary_key.columns), set_={name: lite.excluded[name] for name in names}
        )
    server = mysql.insert(table)
    return server.on_duplicate_key_update({name: server.inserted[name] for name in names})


@cache
def _select(table: sa.Table) -> Any:
    return sa.select(table).where(_in(table))


@cache
def _delete(table: sa.Table) -> Any:
    return sa.delete(table).where(_in(table))


def _in(table: sa.Table) -> sa.ColumnElement[bool]:
    columns = list(table.primary_key.columns)
    keys: sa.BindParameter[Any] = sa.bindparam("keys", expanding=True)
    return columns[0].in_(keys) if len(columns) == 1 else sa.tuple_(*columns).in_(keys)


def _values(keys: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [key[0] for key in keys] if keys and len(keys[0]) == 1 else list(keys)


def chunks(keys: Sequence[tuple[Any, ...]]) -> Iterable[Sequence[tuple[Any, ...]]]:
    for start in range(0, len(keys), CHUNK):
        yield keys[start : start + CHUNK]
