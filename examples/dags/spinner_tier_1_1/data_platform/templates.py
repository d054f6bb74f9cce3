"""Templates, parameters and conf. Try conf {"planet": "Saturn", "repeat": 2}."""

from sample_defaults import COMMON
from spinner import DAG, BashOperator, Param, Tier, task

with DAG(
    "sample_templates",
    tier=Tier.TIER1,
    tags=["sample", "templates"],
    doc_md=__doc__,
    params={
        "planet": Param("Mars", type="string", description="Which planet to greet"),
        "repeat": Param(1, type="integer", minimum=1, maximum=5, description="How often"),
    },
    template_searchpath="sql",
    user_defined_macros={"shout": str.upper},
    **COMMON,
):
    greet = BashOperator(
        task_id="greet",
        bash_command="for i in $(seq {{ params.repeat }}); do echo 'Hello {{ shout(params.planet) }}'; done",
    )
    show = BashOperator(
        task_id="show_interval",
        bash_command="echo {{ data_interval_start | ts }} {{ data_interval_end | ts }} {{ macros.ds_add(ds, 7) }}",
    )

    @task(templates_exts=[".sql"])
    def query(sql, params=None):
        assert params["planet"] in sql, sql
        return sql.strip()

    [greet, show] >> query("planet.sql")
