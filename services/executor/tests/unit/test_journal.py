"""What a try keeps beside its files, and what happens when it can't be kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from spinner_executor.adapters.journal import Journal
from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.inbox.v1.inbox_pb2 import TaskReport


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "try", Fernet(Fernet.generate_key()))


def report() -> TaskReport:
    made = TaskReport(segment=1, sequence=9)
    made.ended.outcome = Outcome.OUTCOME_SUCCESS
    return made


def test_an_end_is_read_back(journal: Journal) -> None:
    journal.store_end(report())
    assert journal.end(1) == report()
    assert journal.end(0) is None


def test_an_end_that_was_cut_off_before_its_first_byte_is_none(journal: Journal, tmp_path: Path) -> None:
    journal.store_end(report())
    (tmp_path / "try" / "end-1.bin").write_bytes(b"")
    assert journal.end(1) is None


def test_what_cannot_be_written_stops_only_what_would_leak(journal: Journal, tmp_path: Path) -> None:
    for name in ("end-1.bin", "secrets.bin"):
        (tmp_path / "try" / name).mkdir(parents=True)  # can't be opened for writing, as nothing can on a full disk
    journal.store_end(report())
    assert journal.end(1) is None
    with pytest.raises(OSError, match=r"secrets\.bin"):
        journal.store_secrets(["s3cret-word"])
