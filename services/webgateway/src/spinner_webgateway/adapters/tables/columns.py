"""Kinds of columns that SQLite, MariaDB and MySQL share.

Ids are ASCII and compared by bytes; times are integers (microseconds, UTC).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, String, Text
from sqlalchemy.dialects import mysql

metadata = MetaData()
CLUSTERED: dict[str, Any] = {"sqlite_with_rowid": False}


def ascii_text(length: int) -> String:
    """An id: ASCII, compared by bytes, so that four of them fit into one MySQL key."""
    binary = mysql.VARCHAR(length, charset="ascii", collation="ascii_bin")
    return String(length).with_variant(binary, "mysql", "mariadb")


def wide_text(length: int) -> String:
    """Any text with an index: compared by bytes, as SQLite does."""
    binary = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(binary, "mysql", "mariadb")


def long_text() -> Text:
    return Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def content() -> LargeBinary:
    return LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def time_column(name: str, nullable: bool = True) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def key(name: str, kind: String | type[Integer] | type[BigInteger]) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def needed(name: str, kind: Any) -> Column[Any]:
    return Column(name, kind, nullable=False)


def try_keys() -> list[Column[Any]]:
    return [
        key("dag_id", ascii_text(250)),
        key("run_id", ascii_text(250)),
        key("task_id", ascii_text(250)),
        key("map_index", Integer),
        key("try_number", Integer),
    ]
