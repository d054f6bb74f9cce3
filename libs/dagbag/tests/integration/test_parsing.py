"""E1: whatever a DAG file does is its own parse error, and no other file suffers."""

import os
import time
from pathlib import Path

import psutil
import pytest
from spinner_dagbag import DagParser, Limits, ParseOptions

GOOD = """
from datetime import datetime
from spinner.core.dag import DAG
from spinner.operators.empty import EmptyOperator
roles = {{"team": {{"can_dag_read"}}}}
with DAG("{name}", schedule="@daily", start_date=datetime(2026, 1, 1), tier=3, access_control=roles) as dag:
    EmptyOperator(task_id="one") >> EmptyOperator(task_id="two")
"""
LIMITS = Limits(time_seconds=30.0, memory_bytes=250 << 20)
OPTIONS = ParseOptions(LIMITS)
HURRIED = ParseOptions(Limits(time_seconds=2.0, memory_bytes=250 << 20))


@pytest.fixture(scope="module")
def parser():
    with DagParser(parallel=2) as made:
        yield made


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        (root / f"{name}.py").write_text(text)
    return root


def test_a_good_file_becomes_definitions(parser, tmp_path):
    found = parser.parse(write(tmp_path, good=GOOD.format(name="good")), "good.py", OPTIONS)
    assert found.error is None
    (definition,) = found.definitions
    assert (definition.dag_id, definition.relative_path, definition.runtime) == ("good", "good.py", "spinner")
    assert [list(task.upstream) for task in definition.tasks] == [[], [0]]


BAD = {
    "syntax": ("def broken(:\n    pass\n", "SyntaxError", 1),
    "imports": ("import os\nimport not_a_module_anywhere\n", "ModuleNotFoundError", 2),
    "raises": ("x = 1\n\nraise KeyError('lost')\n", "KeyError", 3),
    "no_tier": ("from spinner.core.dag import DAG\nDAG('x')\n", "SpinnerDagError", 2),
    "loops": ("x = 1\nwhile True:\n    x += 1\n", "TimedOut", None),
    "sleeps": ("import time\ntime.sleep(1000)\n", "TimedOut", 2),
    "swallows": (
        "while True:\n    try:\n        import time; time.sleep(9)\n    except BaseException:\n        pass\n",
        "TimedOut",
        3,
    ),
    "exits": ("import sys\nsys.exit(0)\n", "SystemExit", 2),
    "os_exits": ("import os\nos._exit(0)\n", "Exited", 0),
    "closes_files": ("import os\nos.closerange(0, 100)\n", "Exited", 0),
    "segfaults": ("import ctypes\n\nctypes.string_at(0)\n", "Crashed", 3),
    "kills_itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n", "Crashed", 0),
    "allocates": ("x = []\nwhile True:\n    x.append(bytearray(1 << 24))\n", "OutOfMemory", 3),
    "threads": (
        "import threading, time\nfor _ in range(100_000):\n"
        "    threading.Thread(target=time.sleep, args=(99,)).start()\n",
        "RuntimeError",
        3,
    ),
    "forks": (
        "import os, time\nwhile True:\n    if os.fork() == 0:\n        time.sleep(99)\n",
        "TooManyProcesses",
        None,
    ),
    "recurses": ("def f():\n    return f()\nf()\n", "RecursionError", 2),
    "null_bytes": ("x = 1\0\n", None, None),
    "bad_str": ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E\n", "E", 3),
    "kills_reader": ("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nwhile True: pass\n", "Crashed", None),
}


@pytest.mark.parametrize("name", BAD)
def test_each_way_to_fail_is_a_parse_error_with_place_and_fix(parser, tmp_path, name):
    text, kind, line = BAD[name]
    options = HURRIED if kind == "TimedOut" else OPTIONS
    error = parser.parse(write(tmp_path, bad=text), "bad.py", options).error
    assert error is not None
    assert error.relative_path == "bad.py"
    assert error.message and error.fix
    if kind is not None:
        assert error.error_type == kind
    if line:
        assert (error.line, error.source_line) == (line, text.splitlines()[line - 1])
    assert str(tmp_path) not in error.stack_trace


def test_a_hundred_megabytes_of_output_do_no_harm(parser, tmp_path):
    noise = GOOD.format(name="noisy") + "\nimport sys\nfor _ in range(100):\n    sys.stdout.write('x' * (1 << 20))\n"
    found = parser.parse(write(tmp_path, noisy=noise), "noisy.py", OPTIONS)
    assert [definition.dag_id for definition in found.definitions] == ["noisy"]
    assert len(found.output) <= LIMITS.output_bytes


def test_files_beside_bad_ones_are_read(parser, tmp_path):
    names = ["loops", "kills_reader", "segfaults", "allocates"]
    write(
        tmp_path,
        **{name: BAD[name][0] for name in names},
        **{f"good_{n}": GOOD.format(name=f"good_{n}") for n in range(12)},
    )
    files = [path.name for path in sorted(tmp_path.glob("*.py"))]
    found = {file.relative_path: file for file in parser.parse_all(tmp_path, files, HURRIED)}
    assert {path for path, file in found.items() if file.error} == {f"{name}.py" for name in names}
    assert sum(len(file.definitions) for file in found.values()) == 12


def test_nothing_is_left_running(parser, tmp_path):
    left = tmp_path / "pid"
    daemon = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open({str(left)!r}, "w").write(str(os.getpid()))
        time.sleep(1000)
    os._exit(0)
while not os.path.exists({str(left)!r}) or not open({str(left)!r}).read():
    pass
"""
    parser.parse(write(tmp_path, daemon=daemon), "daemon.py", OPTIONS)
    pid = int(left.read_text())
    deadline = time.monotonic() + 5
    while running(pid):
        assert time.monotonic() < deadline, "the file's daemon still runs"


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_secrets_of_the_service_are_not_shown_to_files(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINNER_SECRET_KEY", "very-secret")
    text = "import os\nassert 'SPINNER_SECRET_KEY' not in os.environ\n" + GOOD.format(name="blind")
    with DagParser(1) as own:
        assert own.parse(write(tmp_path, blind=text), "blind.py", OPTIONS).error is None


def test_plugins_are_importable_and_what_was_read_is_a_dependency(parser, tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "dags").mkdir()
    (tmp_path / "plugins" / "company.py").write_text("NAME = open('dags/name.txt').read()\n")
    (tmp_path / "dags" / "name.txt").write_text("from_plugin")
    write(
        tmp_path / "dags",
        uses="from company import NAME\n" + GOOD.replace('"{name}"', "NAME").replace("{{", "{").replace("}}", "}"),
    )
    found = parser.parse(tmp_path, "dags/uses.py", OPTIONS)
    assert [definition.dag_id for definition in found.definitions] == ["from_plugin"]
    assert found.dependencies == ("dags/name.txt", "plugins/company.py")


def test_a_definition_does_not_depend_on_where_the_bundle_lies(parser, tmp_path):
    text = GOOD.replace("access_control=roles)", "access_control=roles, doc_md=__file__, params={{'file': __file__}})")
    found = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        write(tmp_path / place, moved=text.format(name="moved"))
        found.append(parser.parse(tmp_path / place, "moved.py", OPTIONS).definitions)
    assert found[0] == found[1]
    assert found[0][0].doc_md == "moved.py"


def test_defaults_of_the_bundle_fill_what_the_dag_leaves_open(parser, tmp_path):
    options = ParseOptions(LIMITS, defaults={"owner": "platform", "project": "billing"})
    found = parser.parse(write(tmp_path, good=GOOD.format(name="good")), "good.py", options)
    assert (found.definitions[0].owner, found.definitions[0].project) == ("platform", "billing")


def test_a_dag_that_fails_a_check_keeps_the_others_of_its_file(parser, tmp_path):
    two = GOOD.format(name="fine") + GOOD.format(name="__reserved")
    found = parser.parse(write(tmp_path, two=two), "two.py", OPTIONS)
    assert [definition.dag_id for definition in found.definitions] == ["fine"]
    assert found.error.error_type == "CheckFailed"
    assert list(found.error.dag_ids) == ["__reserved"]
    assert "SPN010" in [finding.check_id for finding in found.error.findings]


def test_what_the_file_does_while_it_is_read_is_found(parser, tmp_path):
    text = """
import socket, time
def slow():
    time.sleep(0.001)
    connection = socket.socket()
    connection.settimeout(0.2)
    connection.connect_ex(("127.0.0.1", 9083))
    connection.connect_ex(("127.0.0.1", 9))
slow()
""" + GOOD.format(name="busy")
    found = parser.parse(write(tmp_path, busy=text), "busy.py", OPTIONS)
    lines = {(finding.check_id, finding.line) for finding in found.findings}
    assert {("SPN044", 4), ("SPN043", 7), ("SPN040", 8)} <= lines


def test_a_file_costs_milliseconds(parser, tmp_path):
    """Goal: 3,000 files in 30 s on two cores; the bound leaves room for a busy machine."""
    count = 200
    write(tmp_path, **{f"f{number}": GOOD.format(name=f"f{number}") for number in range(count)})
    started = time.perf_counter()
    found = list(parser.parse_all(tmp_path, [f"f{number}.py" for number in range(count)], OPTIONS))
    seconds = time.perf_counter() - started
    assert sum(len(file.definitions) for file in found) == count
    print(f"\n{seconds / count * 1000:.1f} ms a file, {os.cpu_count()} cores")
    assert seconds < count * 0.1
