"""A worker forked for each try, against a fake executor over the real frames."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from spinner_proto.common.v1 import common_pb2 as common
from spinner_proto.inbox.v1 import inbox_pb2 as inbox
from spinner_proto.orders.v1 import orders_pb2 as orders
from spinner_proto.runtime.v1 import runtime_pb2 as pb

PLAIN = """
with DAG("d", **OPTIONS):
    @task
    def t():
        {body}
    t()
"""


def plain(body: str) -> str:
    return PLAIN.replace("{body}", body.replace("\n", "\n        "))


def test_success_pushes_the_return_value_and_reports_stages(executor):
    result = executor.run(plain("print('hello'); return {'a': datetime(2026, 1, 1, tzinfo=UTC), 'b': (1, 2)}"))
    assert result.outcome == "success"
    assert result.exit_status == 0
    assert executor.xcom("t") == {"a": datetime(2026, 1, 1, tzinfo=UTC), "b": (1, 2)}
    assert [stage.stage for stage in result.ended.stages] == [
        common.STAGE_READINESS,
        common.STAGE_PARSE,
        common.STAGE_TASK_EXEC,
    ]
    assert all(stage.outcome == common.STAGE_OUTCOME_SUCCESS for stage in result.ended.stages)
    assert result.ended.usage.peak_memory_bytes > 1_000_000
    assert result.ended.return_length == 2
    lines = result.log.splitlines()
    assert "{TaskExecStage} INFO spinner.runtime: Running: task t, try 1 of 1" in lines[lines.index("hello") - 1]


def test_the_grant_is_asked_before_the_dag_file_is_read(executor):
    executor.refuse_start = True
    result = executor.run("open('touched', 'w').close()\n" + plain("return 1"))
    assert result.exit_status == 76
    assert result.finish is None
    assert not (executor.bundle / "touched").exists()


def test_failure_reports_class_and_prints_the_traceback_with_a_stage(executor):
    result = executor.run(plain("try:\n    {}['x']\nexcept KeyError as e:\n    raise ValueError('no x') from e"))
    assert result.outcome == "failed"
    assert result.ended.message == "ValueError: no x"
    assert list(result.ended.exception_classes) == ["ValueError", "KeyError"]
    assert "{TaskExecStage} ERROR spinner.runtime: Task failed: ValueError: no x\nTraceback" in result.log
    assert "dags/d.py" in result.log
    assert "spinner/runtime/execution.py" not in result.log


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("raise SkipTask('nothing to do')", "skipped"),
        ("raise FailTask('never again')", "failed_no_retry"),
        ("raise MemoryError()", "out_of_memory"),
        ("import sys; sys.exit(0)", "success"),
        ("import sys; sys.exit(3)", "failed"),
        ("raise KeyboardInterrupt", "failed"),
        ("return object()", "failed"),
    ],
)
def test_outcomes(executor, body, outcome):
    assert executor.run(plain(body)).outcome == outcome


def test_an_unserializable_value_is_named(executor):
    ended = executor.run(plain("return {'rows': [1, object()]}")).ended
    assert "['rows'][1] is a builtins.object" in ended.message


def test_a_broken_dag_file_is_a_parse_failure(executor):
    result = executor.run("import not_there\n")
    assert result.outcome == "parse_failed"
    assert result.ended.stages[-1].stage == common.STAGE_PARSE
    assert "No module named 'not_there'" in result.ended.message


def test_a_missing_file_says_which(executor):
    result = executor.run_order(executor.order("t", relative_path="dags/gone.py"))
    assert "dags/gone.py is not in the bundle" in result.ended.message
    assert result.outcome == "config_error"


def test_execution_timeout_interrupts_even_code_that_catches_exceptions(executor):
    body = "import time\nwhile True:\n    try:\n        time.sleep(5)\n    except Exception:\n        pass"
    result = executor.run(plain(body), execution_timeout=timedelta(seconds=0.2))
    assert result.outcome == "timed_out"


def test_cancelling_kills_the_command_and_reports(executor):
    executor.heartbeat_seconds = 0.05
    pid_file = executor.folder / "pid"
    executor.cancel_when = lambda: pid_file.exists() and pid_file.read_text().strip()
    result = executor.run(
        f"""
with DAG("d", **OPTIONS):
    BashOperator(task_id="t", bash_command="sleep 100 & echo $! > {pid_file}; wait")
"""
    )
    assert result.outcome == "killed_by_user"
    assert _gone(int(pid_file.read_text()))


def _gone(pid: int, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_a_worker_without_answers_ends_itself_and_its_children(executor):
    executor.heartbeat_seconds, executor.lease_seconds = 0.05, 0.4
    pid_file = executor.folder / "pid"

    executor.cancel_when = lambda: executor.silent.set() if pid_file.exists() and pid_file.read_text() else None
    result = executor.run(
        f"""
with DAG("d", **OPTIONS):
    BashOperator(task_id="t", bash_command="sleep 100 & echo $! > {pid_file}; wait")
"""
    )
    assert result.finish is None
    assert result.exit_status == 75
    assert _gone(int(pid_file.read_text()))


def test_a_lost_connection_is_made_again(executor):
    executor.hang_up_after = "SetXCom"
    result = executor.run(plain("return 5"))
    assert result.outcome == "success"
    assert result.calls.count("SetXCom") == 2


def test_templates_and_context(executor):
    executor.variables["colour"] = "red"
    executor.variables["shape"] = '{"sides": 4}'
    executor.write("dags/sql/q.sql", "select '{{ ds }}' from {{ params.table }}")
    result = executor.run(
        """
from spinner.operators.python import PythonOperator
def f(*args, sql, ds, ti, **context):
    return [args, sql, ds, ti.try_number, context["params"]["table"], context["dag_run"].conf]
with DAG("d", params={"table": "t1"}, template_searchpath="sql", user_defined_macros={"twice": lambda x: x * 2},
         **OPTIONS):
    PythonOperator(
        task_id="t", python_callable=f, templates_exts=[".sql"],
        op_args=["{{ var.value.colour }}-{{ var.json.shape.sides }}", "{{ twice(2) }}",
                 "{{ dag_run.conf.get('x', 0) }}", "{{ macros.ds_add(ds, 1) }}", "{{ data_interval_end | ds }}"],
        op_kwargs={"sql": "q.sql"})
""",
        conf=b'{"table": "t2", "x": 7}',
    )
    assert result.outcome == "success", result.log
    args, sql, ds, try_number, table, conf = executor.xcom("t")
    assert args == ("red-4", "4", "7", "2026-03-02", "2026-03-02")
    assert sql == "select '2026-03-01' from t2"
    assert (ds, try_number, table, conf) == ("2026-03-01", 1, "t2", {"table": "t2", "x": 7})
    assert b"red-4" in result.ended.rendered.inline


def test_native_rendering_keeps_types(executor):
    source = """
with DAG("d", render_template_as_native_obj=True, **OPTIONS):
    @task
    def t(x): return x
    t("{{ [1, 2, 3] }}")
"""
    assert executor.run(source).outcome == "success"
    assert executor.xcom("t") == [1, 2, 3]


def test_a_bad_template_names_the_field(executor):
    result = executor.run('with DAG("d", **OPTIONS):\n    BashOperator(task_id="t", bash_command="{{ nothing }}")\n')
    assert "t.bash_command" in result.ended.message
    assert "'nothing' is undefined" in result.ended.message


def test_values_flow_between_tasks(executor):
    source = """
with DAG("d", **OPTIONS):
    @task(multiple_outputs=True)
    def one(): return {"a": 1, "b": "{{ ds }}"}
    @task
    def two(a, both): return [a, both["b"]]
    first = one()
    two(first["a"], first)
"""
    executor.run(source, "one")
    assert executor.run(source, "two").outcome == "success"
    # What an XCom brings is not rendered again.
    assert executor.xcom("two") == [1, "{{ ds }}"]


MAPPED = """
with DAG("d", **OPTIONS):
    @task
    def numbers(): return [1, 2, 3]
    @task
    def letters(): return {"x": 10, "y": 20}
    @task
    def both(n, l, sign): return f"{sign}{n}{l[0]}"
    @task
    def gather(xs): return list(xs)
    @task
    def pairs(p): return p
    @task
    def lengths(w): return w
    n, l = numbers(), letters()
    b = both.partial(sign="+").expand(n=n, l=l)
    gather(b)
    pairs.expand(p=n.map(lambda x: x * x).zip(l, fillvalue=None))
    lengths.expand(w=n.concat(b))
"""


def test_product_zip_map_concat(executor):
    executor.run(MAPPED, "numbers", reports_length=True)
    executor.run(MAPPED, "letters", reports_length=True)
    for index in range(6):
        assert executor.run(MAPPED, "both", map_index=index, map_length=6).outcome == "success"
    assert [executor.xcom("both", map_index=index) for index in range(6)] == ["+1x", "+1y", "+2x", "+2y", "+3x", "+3y"]
    executor.run(MAPPED, "gather", upstream_map_lengths={"both": 6})
    assert executor.xcom("gather") == ["+1x", "+1y", "+2x", "+2y", "+3x", "+3y"]
    executor.run(MAPPED, "pairs", map_index=2, map_length=3)
    assert executor.xcom("pairs", map_index=2) == (9, None)
    executor.run(MAPPED, "pairs", map_index=1, map_length=3)
    assert executor.xcom("pairs", map_index=1) == (4, ("y", 20))
    executor.run(MAPPED, "lengths", map_index=4, map_length=9, upstream_map_lengths={"both": 6})
    assert executor.xcom("lengths", map_index=4) == "+1y"


def test_expand_kwargs_of_an_operator(executor):
    source = """
with DAG("d", **OPTIONS):
    BashOperator.partial(task_id="t", append_env=True).expand_kwargs(
        [{"bash_command": "echo $WHO {{ ti.map_index }}", "env": {"WHO": "a"}}, {"bash_command": "exit 99"}])
"""
    executor.run(source, map_index=0, map_length=2)
    assert executor.xcom("t", map_index=0) == "a 0"
    assert executor.run(source, map_index=1, map_length=2).outcome == "skipped"


def test_mapped_group_reads_its_own_instance(executor):
    source = """
with DAG("d", **OPTIONS):
    @task_group
    def g(n):
        @task
        def a(x): return x * 10
        @task
        def b(x, y): return x + y
        b(a(n), n)
    g.expand(n=[1, 2])
"""
    executor.run(source, "g.a", map_index=1, map_length=2)
    assert executor.run(source, "g.b", map_index=1, map_length=2).outcome == "success"
    assert executor.xcom("g.b", map_index=1) == 22


def test_a_task_that_others_expand_over_must_return_a_list(executor):
    result = executor.run(plain("return 5"), reports_length=True)
    assert result.outcome == "failed"
    assert "mapped tasks expand over it" in result.ended.message


BRANCHES = """
from spinner.operators.latest_only import LatestOnlyOperator
with DAG("d", **OPTIONS):
    @task.branch
    def choose(): return ["left", "g"]
    @task.short_circuit
    def stop(): return False
    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def gentle(): return 0
    left, right, join = EmptyOperator(task_id="left"), EmptyOperator(task_id="right"), EmptyOperator(task_id="join")
    with TaskGroup("g") as g:
        EmptyOperator(task_id="inner")
    choose() >> [left, right, g] >> join
    c = stop()
    x, y = EmptyOperator(task_id="x"), EmptyOperator(task_id="y")
    c >> x >> y >> EmptyOperator(task_id="z").as_teardown()
    gentle() >> EmptyOperator(task_id="p") >> EmptyOperator(task_id="q")
    LatestOnlyOperator(task_id="latest") >> EmptyOperator(task_id="after")
"""


@pytest.mark.parametrize(
    ("task_id", "skipped", "fields"),
    [
        ("choose", ["right"], {}),
        ("stop", ["x", "y"], {}),
        ("gentle", ["p"], {}),
        ("latest", [], {}),
        ("latest", ["after"], {"run_type": common.RUN_TYPE_SCHEDULED}),
    ],
)
def test_decisions(executor, task_id, skipped, fields):
    result = executor.run(BRANCHES.replace("OPTIONS)", "OPTIONS, schedule='@daily')"), task_id, **fields)
    assert result.outcome == "success", result.log
    assert list(result.ended.skip_task_ids) == skipped


def test_a_branch_to_nowhere_fails(executor):
    result = executor.run(BRANCHES.replace('["left", "g"]', '"join"'), "choose")
    assert "not directly downstream" in result.ended.message


DYNAMIC = """
class Mine(DynamicDAG):
    def compute_layout(self, dynamic_dag, execution_date, dagrun_conf):
        before = None
        for name in dagrun_conf["names"]:
            now = BashOperator(task_id=name, bash_command=f"echo {execution_date:%Y} {name}")
            if before: before >> now
            before = now
Mine("d", **OPTIONS)
"""


def test_dynamic_dag_layout_and_task(executor):
    conf = b'{"names": ["a", "b"]}'
    kind = orders.ORDER_KIND_LAYOUT
    # The DAG needs no name: it is found by its class or as a global.
    source = DYNAMIC.replace("Mine(", "dag = Mine(", 2).replace("class dag = Mine(", "class Mine(")
    result = executor.run(source, "__layout__", kind=kind, conf=conf, version="v0")
    assert result.finish.HasField("layout_computed"), result.log
    layout = executor.layouts[0]
    assert result.finish.layout_computed.version == layout.version
    assert [(task.task_id, list(task.upstream)) for task in layout.tasks] == [("a", []), ("b", [0])]
    assert layout.dynamic_source_version == "v0"
    executor.run(source, "b", conf=conf)
    assert executor.xcom("b") == "2026 b"


def test_updates_of_assets_are_reported_with_what_the_task_says_of_them(executor):
    source = """
from spinner import Asset, AssetAlias, Metadata
ROWS, FILES = Asset("rows"), AssetAlias("files")
with DAG("d", **OPTIONS):
    @task(outlets=[ROWS, FILES, "plain"])
    def t(outlet_events, triggering_asset_events):
        for name, events in triggering_asset_events.items():
            print("by", name, [event.extra for event in events], events[0].source_dag_id)
        outlet_events[FILES].add(Asset("s3://b/1"), {"n": 1})
        yield Metadata(ROWS, {"count": 3})
        return "done"
    t()
"""
    before = [inbox.AssetUpdated(asset="up", extra_json='{"v": 1}', producer=common.TaskKey(dag_id="p"))]
    result = executor.run(source, asset_events=before)
    assert result.outcome == "success", result.log
    assert executor.xcom("t") == "done"
    said = [(event.asset, event.extra_json, list(event.aliases)) for event in result.ended.asset_events]
    assert said == [("rows", '{"count":3}', []), ("s3://b/1", '{"n":1}', ["files"]), ("plain", "", [])]
    assert "by up [{'v': 1}] p" in result.log


def test_the_callback_of_a_deadline_is_called(executor):
    source = """
from spinner import DeadlineAlert, DeadlineReference
def late(context): print("late", context["deadline"])
with DAG("d", deadline=DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=1), late), **OPTIONS):
    EmptyOperator(task_id="t")
"""
    fields = {"kind": orders.ORDER_KIND_CALLBACK, "callback": "deadline", "deadline_name": "run"}
    result = executor.run(source, "__callback__", **fields)
    assert result.outcome == "success", result.log
    assert "late {'name': 'run', 'task_id': None" in result.log


def test_the_callback_of_an_asset_that_is_not_fresh_is_called(executor):
    source = """
from spinner import Asset
def stale(context): print("stale", context["asset"].name, context["last_update_time"], context["reason"])
with DAG("d", **OPTIONS):
    EmptyOperator(task_id="t", outlets=[Asset("a", freshness=timedelta(hours=1), on_stale_callback=stale)])
"""
    fields = {"kind": orders.ORDER_KIND_CALLBACK, "callback": "stale", "asset": "a", "callback_reason": "no update"}
    result = executor.run(source, "__callback__", **fields)
    assert result.outcome == "success", result.log
    assert "stale a None no update" in result.log
    missing = executor.run(source, "__callback__", **(fields | {"asset": "b"}))
    assert missing.outcome == "parse_failed"
    assert "no asset 'b' with an on_stale_callback" in missing.log


def test_a_task_knows_the_partition_of_its_run(executor):
    source = """
with DAG("d", **OPTIONS):
    @task
    def t(dag_run=None, partition_key=None, triggering_asset_events=None):
        print("run of", dag_run.partition_key, partition_key)
        print([event.partition_key for events in triggering_asset_events.values() for event in events])
    t()
"""
    before = [inbox.AssetUpdated(asset="up", partition_key="red")]
    result = executor.run(source, partition_key="red", asset_events=before)
    assert result.outcome == "success", result.log
    assert "run of red red" in result.log
    assert "['red']" in result.log


def test_the_bases_of_an_exception_are_reported_for_retry_policies(executor):
    source = """
from spinner import ExceptionRetryPolicy, RetryRule
with DAG("d", **OPTIONS):
    @task(retries=3, retry_policy=ExceptionRetryPolicy([RetryRule(OSError, "fail")]))
    def t():
        raise BrokenPipeError()
    t()
"""
    result = executor.run(source, max_tries=4)
    assert list(result.ended.exception_bases)[:2] == ["ConnectionError", "OSError"]


def test_pinball_command(executor):
    order = executor.order("job", runtime="pinball", command="echo PINBALL:EVENT_ATTR:n=5; exit 4", relative_path="")
    result = executor.run_order(order)
    assert (result.outcome, result.ended.exit_code) == ("failed", 4)
    assert executor.xcom("job", "event_attributes") == {"n": "5"}


def test_pinball_command_takes_dates_and_the_attributes_of_its_predecessors(executor):
    for task_id, value in (("left", "1"), ("right", "2")):
        order = executor.order(
            task_id, runtime="pinball", command=f"echo PINBALL:EVENT_ATTR:n={value}", relative_path=""
        )
        assert executor.run_order(order).outcome == "success"
    command = "echo day={{ macros.ds_add(ds, -1) }} n=%(n)s none=[%(other)s]"
    order = executor.order("join", runtime="pinball", command=command, relative_path="")
    order.upstream_task_ids.extend(["left", "right"])
    order.logical_date.FromJsonString("2026-03-01T00:00:00Z")
    assert "day=2026-02-28 n=1,2 none=[]" in executor.run_order(order).log


def test_log_lines_have_time_stage_level_and_logger(executor):
    import re

    log = executor.run(plain("import logging; logging.getLogger('my.log').warning('careful')")).log
    assert re.search(
        r"^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] \{TaskExecStage\} WARNING my\.log: careful$", log, re.M
    )


def test_plugins_and_dags_root_are_importable(executor):
    executor.write("plugins/helper_of_mine.py", "VALUE = 42\n")
    assert executor.run("import helper_of_mine\n" + plain("return helper_of_mine.VALUE")).outcome == "success"
    assert executor.xcom("t") == 42


def test_connections(executor):
    executor.connections["db"] = pb.GetConnectionResponse(found=True, type="mysql", host="h", port=3, password="p@")
    source = 'with DAG("d", **OPTIONS):\n    BashOperator(task_id="t", bash_command="echo {{ conn.db.get_uri() }}")\n'
    executor.run(source)
    assert executor.xcom("t") == "mysql://:p%40@h:3/"
