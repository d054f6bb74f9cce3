"""A1: the authoring language."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from spinner import (
    DAG,
    BaseOperator,
    BashOperator,
    DynamicDAG,
    EmptyOperator,
    Label,
    Param,
    PythonOperator,
    TaskGroup,
    Tier,
    chain,
    cross_downstream,
    dag,
    setup,
    task,
    task_group,
    teardown,
)
from spinner.exceptions import DagCycleError, DuplicateTaskIdFound, ParamValidationError, SpinnerDagError

START = datetime(2026, 1, 1, tzinfo=UTC)
NEEDED = {"tier": Tier.TIER3, "access_control": {"team": {"can_dag_read"}}, "start_date": START}


def make(**kwargs) -> DAG:
    return DAG("d", **{**NEEDED, **kwargs})


def empties(names: str) -> list[BaseOperator]:
    return [EmptyOperator(task_id=name) for name in names]


def edges(made: DAG) -> set[str]:
    return {f"{task.task_id}>{down}" for task in made.tasks for down in task.downstream_task_ids}


@pytest.mark.parametrize(
    ("kwargs", "message", "fix"),
    [
        ({"tier": None}, "has no tier", "tier=Tier.TIER1"),
        ({"tier": 7}, "unknown tier 7", "tier=Tier.TIER1"),
        ({"access_control": None}, "has no access_control", 'access_control={"my-team"'),
        ({"access_control": {"team": {"can_fly"}}}, "can_fly", "can_dag_read"),
        ({"schedule": "@daily", "start_date": None}, "no start_date", "start_date="),
        ({"schedule": "every day"}, "neither a cron", "@hourly"),
        ({"schedule": 5}, "no schedule", "cron string"),
        ({"schedule": timedelta(0)}, "not longer than zero", "positive"),
        ({"max_active_runs": -1}, "max_active_runs=-1", "whole number"),
        ({"schedule": "@daily", "params": {"x": Param(type="string")}}, "has no default", "default"),
        ({"params": {"x": Param(5, type="string")}}, "does not fit its schema", "default"),
    ],
)
def test_what_is_wrong_with_a_dag_and_how_to_fix_it(kwargs, message, fix):
    with pytest.raises(SpinnerDagError) as error:
        make(**kwargs)
    assert message in error.value.message
    assert fix in error.value.fix


@pytest.mark.parametrize("bad", ["", "a b", "ä", "x" * 251, "a/b"])
def test_ids(bad):
    with pytest.raises(SpinnerDagError, match="cannot be the id"):
        DAG(bad, **NEEDED)
    with make(), pytest.raises(SpinnerDagError, match="cannot be the id"):
        EmptyOperator(task_id=bad)


def test_airflow_permissions_and_nested_form():
    grants = make(access_control={"a": {"can_read", "can_edit"}, "b": {"DAGs": {"can_dag_read"}}}).access_control
    assert grants == {"a": ["can_dag_edit", "can_dag_read"], "b": ["can_dag_read"]}


def test_time_zone_comes_from_start_date():
    assert make(start_date=datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))).timezone == "Europe/Berlin"
    assert make(start_date=datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))).start_date.hour == 23
    assert make().timezone == "UTC"


def test_edges_in_every_direction():
    with make() as made:
        a, b, c, d, e = empties("abcde")
        a >> [b, c] >> d << e
        [a, b] >> e
    assert edges(made) == {"a>b", "a>c", "b>d", "c>d", "e>d", "a>e", "b>e"}


def test_chain_and_cross_downstream():
    with make() as made:
        a, b, c, d, e, f = empties("abcdef")
        chain(a, [b, c], [d, e], f)
    assert edges(made) == {"a>b", "a>c", "b>d", "c>e", "d>f", "e>f"}
    with DAG("x", **NEEDED) as made:
        a, b, c, d = empties("abcd")
        cross_downstream([a, b], [c, d])
        with pytest.raises(SpinnerDagError, match="neighbouring lists of 2 and 1"):
            chain([a, b], [c])
    assert edges(made) == {"a>c", "a>d", "b>c", "b>d"}


def test_labels():
    with make() as made:
        a, b, c, d = empties("abcd")
        a >> Label("yes") >> [b, c]
        d << Label("no") << a
    assert made.edge_labels == {("a", "b"): "yes", ("a", "c"): "yes", ("a", "d"): "no"}


def test_cycle_names_its_tasks():
    with make() as made:
        a, b, c = empties("abc")
        a >> b >> c >> a
    with pytest.raises(DagCycleError, match=r"(a → b → c → a|b → c → a → b|c → a → b → c)"):
        made.topological_order()
    with DAG("x", **NEEDED), pytest.raises(SpinnerDagError, match="depends on itself"):
        (a,) = empties("a")
        a >> a


def test_duplicates_and_strangers():
    with make():
        (a,) = empties("a")
        with pytest.raises(DuplicateTaskIdFound, match="two nodes with the id 'a'"):
            EmptyOperator(task_id="a")
        with pytest.raises(DuplicateTaskIdFound):
            TaskGroup("a")
    with DAG("other", **NEEDED):
        (b,) = empties("b")
    with pytest.raises(SpinnerDagError, match="different DAGs"):
        a >> b


def test_unknown_arguments_are_named():
    with make(), pytest.raises(SpinnerDagError, match=r"does not know the argument.*retires"):
        BashOperator(task_id="a", bash_command="true", retires=3)
    with make(), pytest.raises(SpinnerDagError, match="no task_id"):
        EmptyOperator()


def test_default_args_fill_what_the_operator_knows():
    with make(default_args={"retries": 3, "bash_command": "echo x", "unknown": 1, "owner": "ann"}) as made:
        first = BashOperator(task_id="a")
        second = EmptyOperator(task_id="b", retries=1)
        with TaskGroup("g", default_args={"retries": 7}):
            third = EmptyOperator(task_id="c")
    assert (first.retries, first.bash_command, first.owner) == (3, "echo x", "ann")
    assert (second.retries, third.retries) == (1, 7)
    assert made.owner == "ann"


def test_groups_nest_and_prefix():
    with make() as made:
        with TaskGroup("outer") as outer:
            (a,) = empties("a")
            with TaskGroup("inner", prefix_group_id=False):
                b = EmptyOperator(task_id="b")
            with TaskGroup("deep"):
                c = EmptyOperator(task_id="c")
            a >> [b, c]
        first, last = empties("xy")
        first >> outer >> last
    assert made.task_ids == ["outer.a", "outer.b", "outer.deep.c", "x", "y"]
    assert edges(made) == {"outer.a>outer.b", "outer.a>outer.deep.c", "x>outer.a", "outer.b>y", "outer.deep.c>y"}
    assert outer.get_child_by_label("a") is a


def test_a_teardown_is_no_leaf_of_its_group():
    with make() as made:
        with TaskGroup("g") as group:
            begin, work, end = (EmptyOperator(task_id=name) for name in ("begin", "work", "end"))
            begin >> work >> end.as_teardown(setups=begin)
        group >> EmptyOperator(task_id="after")
    assert edges(made) == {"g.begin>g.work", "g.work>g.end", "g.begin>g.end", "g.work>after"}


def test_setup_and_teardown_scopes():
    with make() as made:

        @setup
        def begin(): ...

        @teardown
        def end(): ...

        @task
        def work(n): ...

        s = begin()
        with end().as_teardown(setups=s):
            work(1) >> work(2)
            work(3)
    assert edges(made) == {
        "begin>end", "begin>work", "work>work__1", "work__1>end", "begin>work__2", "work__2>end",
    }  # fmt: skip
    assert made.get_task("begin").is_setup
    assert made.get_task("end").trigger_rule == "all_done_setup_success"


def test_task_flow_makes_edges_and_unique_ids():
    with make() as made:

        @task
        def one(): ...

        @task(retries=2)
        def two(x, y=None, ti=None): ...

        a = one()
        two(a, y={"deep": [one.override(task_id="other")()]})
        two(x=5)
    assert made.task_ids == ["one", "other", "two", "two__1"]
    assert edges(made) == {"one>two", "other>two"}
    assert made.get_task("two__1").retries == 2


@pytest.mark.parametrize("call", [lambda f: f(), lambda f: f(1, 2, 3), lambda f: f(1, z=2)])
def test_calls_that_do_not_fit_are_found_while_parsing(call):
    with make(), pytest.raises(SpinnerDagError, match="does not fit"):

        @task
        def f(x, y=0): ...

        call(f)


def test_references_in_classic_operators_make_edges():
    with make() as made:
        a = BashOperator(task_id="a", bash_command="echo")
        PythonOperator(task_id="b", python_callable=print, op_kwargs={"x": [a.output["k"]]})
        BashOperator(task_id="c", bash_command=a.output)
    assert edges(made) == {"a>b", "a>c"}


def test_a_reference_is_no_list():
    with make(), pytest.raises(SpinnerDagError, match="cannot be iterated"):

        @task
        def f(): ...

        for _ in f():
            pass


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda f: f.expand(), "no argument"),
        (lambda f: f.expand(z=[1]), "no parameter z"),
        (lambda f: f.expand(x=5), "no length"),
        (lambda f: f.partial(x=1).expand(x=[1]), "both in partial"),
        (lambda f: f.expand_kwargs([1, 2]), "must be a dict"),
        (lambda f: f.expand(x=f(1)["key"]), "cannot be expanded over key"),
        (lambda f: BashOperator.partial(task_id="b").expand(nothing=[1]), "unknown argument"),
        (lambda f: BashOperator.partial(task_id="b").expand(pool=["x"], bash_command=["y"]), "the scheduler reads"),
        (lambda f: f(1) >> BashOperator.partial(task_id="b"), "no expand"),
    ],
)
def test_wrong_expansions(build, message):
    with make(), pytest.raises(SpinnerDagError, match=message):

        @task
        def f(x, y=None): ...

        build(f)


def test_mapped_groups():
    with make() as made:

        @task
        def names(): ...

        @task_group
        def g(x):
            @task
            def a(y): ...

            @task
            def b(y): ...

            b(a(x))

        g.expand(x=names())
        with pytest.raises(SpinnerDagError, match="inside a mapped task group"):

            @task_group
            def h(x):
                g.expand(x=[1])

            h.expand(x=[1])
    assert {"names>g.a", "g.a>g.b"} <= edges(made)


def test_params_are_checked():
    made = make(params={"n": Param(1, type="integer", minimum=1), "s": Param(type=["string", "null"]), "free": [1]})
    assert made.params.with_conf({"n": 5, "s": None}) == {"n": 5, "s": None, "free": [1]}
    for conf, message in (({"n": 0, "s": ""}, "less than 1"), ({"n": True, "s": ""}, "type integer"), ({}, "no value")):
        with pytest.raises(ParamValidationError, match=message):
            made.params.with_conf(conf)


def test_dag_decorator_gives_params():
    @dag(schedule=None, **NEEDED)
    def my_dag(table="t1"):
        """What it does."""

        @task
        def f(x): ...

        f(table)

    made = my_dag(table="t2")
    assert (made.dag_id, made.doc_md, dict(made.params)) == ("my_dag", "What it does.", {"table": "t2"})
    assert made.fileloc == __file__


def test_a_dynamic_layout_is_a_copy_each_time():
    class Mine(DynamicDAG):
        def compute_layout(self, dynamic_dag, execution_date, dagrun_conf):
            for number in range(dagrun_conf["n"]):
                EmptyOperator(task_id=f"t{number}")

    made = Mine("d", **NEEDED)
    assert made.layout(START, {"n": 2}).task_ids == ["t0", "t1"]
    assert made.layout(START, {"n": 1}).task_ids == ["t0"]
    assert made.task_ids == []
    with pytest.raises(SpinnerDagError, match="added no task"):
        made.layout(START, {"n": 0})


def test_variables_at_the_top_of_a_file_are_refused():
    from spinner import Variable
    from spinner.exceptions import RuntimeUnavailable

    with pytest.raises(RuntimeUnavailable, match="Move the call"):
        Variable.get("x")
