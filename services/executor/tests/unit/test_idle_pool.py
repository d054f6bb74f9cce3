"""Which idle worker a try gets."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from spinner_executor.adapters.local.idle import File, Pool

FILE, OTHER = ("/bundle", "a.py"), ("/bundle", "b.py")


class Line:
    def assign(self, assignment: bytes, token: str, partition: int, on_lost: Callable[[], None]) -> None: ...


def come(pool: Pool, pid: int, file: File | None = None) -> None:
    assert pool.came(json.dumps({"pid": pid, "start_time": "1", "file": file}).encode(), Line()) is not None


def taken(pool: Pool, file: File | None, own_environment: bool = False) -> int | None:
    idle = pool.take(file, own_environment)
    return None if idle is None else idle.pid


def test_workers_are_taken_once_each_in_the_order_of_their_coming() -> None:
    pool = Pool("")
    come(pool, 1)
    come(pool, 2)
    assert [taken(pool, None) for _ in range(3)] == [1, 2, None]


def test_a_file_that_workers_have_read_is_given_to_them_only() -> None:
    pool = Pool("")
    come(pool, 1)
    come(pool, 2, FILE)
    assert taken(pool, FILE) == 2
    assert taken(pool, FILE) is None
    assert taken(pool, OTHER) == 1


def test_a_try_with_an_environment_of_its_own_reads_its_file_itself() -> None:
    pool = Pool("")
    come(pool, 1)
    come(pool, 2, FILE)
    assert taken(pool, FILE, own_environment=True) == 1
    assert taken(pool, FILE, own_environment=True) is None


def test_who_has_left_is_given_nothing() -> None:
    pool = Pool("")
    idle = pool.came(b'{"pid": 1, "start_time": "1", "file": null}', Line())
    assert idle is not None
    pool.left(idle)
    pool.left(idle)
    assert taken(pool, None) is None


@pytest.mark.parametrize("hello", [b"", b"{}", b"[]", b'{"pid": "x", "start_time": "1", "file": null}', b"\xff"])
def test_who_makes_no_sense_is_sent_away(hello: bytes) -> None:
    assert Pool("").came(hello, Line()) is None
