"""Which files are DAG files."""

from spinner_dagbag import dag_files


def test_candidates_and_ignore_files(tmp_path):
    text = "from spinner import DAG"
    for path in (
        "a.py",
        "team/b.py",
        "team/skipped.py",
        "team/keep/c.py",
        "old/d.py",
        "old/deep/e.py",
        "plugins/p.py",
        ".venv/v.py",
        "__pycache__/x.py",
        "notes.txt",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "helper.py").write_text("import os  # nothing to do with workflows")
    (tmp_path / "only_dag.py").write_text("dag = 1")
    (tmp_path / ".airflowignore").write_text("# comment\nold/\n")
    (tmp_path / "team" / ".spinnerignore").write_text("skip*.py\n/keep/\n!keep/\n")
    assert dag_files(tmp_path) == ["a.py", "team/b.py", "team/keep/c.py"]
