"""`spinner dags check PATH` as a library."""

import pytest
from spinner_dagbag import Severity, check_path

GOOD = """
from datetime import datetime
from spinner.core.dag import DAG
from spinner.operators.empty import EmptyOperator
with DAG("{name}", schedule="@daily", start_date=datetime(2026, 1, 1), tier=3, owner="team",
         access_control={{"team": {{"can_dag_read"}}}}, catchup={catchup}) as dag:
    EmptyOperator(task_id="one")
"""


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "dags" / "spinner_tier_3_0" / "team"
    folder.mkdir(parents=True)
    (folder / "good.py").write_text(GOOD.format(name="good", catchup=False))
    (folder / "late.py").write_text(GOOD.format(name="late", catchup=True))
    (folder / "same.py").write_text(GOOD.format(name="good", catchup=False))
    (folder / "broken.py").write_text("from spinner import DAG\n\nraise ValueError('no')\n")
    return tmp_path


def test_a_folder_is_checked_with_parse_errors_and_duplicates(repository):
    found = [(finding.check_id, finding.path.rpartition("/")[2], finding.line) for finding in check_path(repository)]
    assert found == [("SPN000", "broken.py", 3), ("SPN014", "late.py", 5), ("SPN007", "same.py", 0)]


def test_one_file_is_checked_in_its_repository(repository):
    (finding,) = check_path(repository / "dags" / "spinner_tier_3_0" / "team" / "late.py")
    assert finding.path == "dags/spinner_tier_3_0/team/late.py"
    assert finding.severity is Severity.WARNING
    (finding,) = check_path(repository / "dags" / "spinner_tier_3_0" / "team" / "late.py", strict=True)
    assert finding.severity is Severity.ERROR


def test_a_wrong_switch_file_is_a_finding_and_the_checks_go_on(repository):
    (repository / "spinner-checks.yaml").write_text("checks: {SPN1: off}")
    found = {finding.path.rpartition("/")[2] for finding in check_path(repository)}
    assert found == {"spinner-checks.yaml", "broken.py", "late.py", "same.py"}


def test_nothing_at_the_path_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        check_path(tmp_path / "nowhere")
