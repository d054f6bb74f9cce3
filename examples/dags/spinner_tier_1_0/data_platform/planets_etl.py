"""Extract, transform and load: the planets' table becomes a report in a file."""

import csv
import json

from sample_defaults import COMMON, DATA
from sample_marks import output_folder
from spinner import DAG, BashOperator, Tier, task

with DAG(
    "sample_planets_etl",
    description="ETL over a table of planets",
    schedule="*/5 * * * *",
    tier=Tier.TIER1,
    tags=["sample", "etl"],
    doc_md=__doc__,
    **COMMON,
):

    @task
    def extract():
        with (DATA / "planets.csv").open() as file:
            rows = list(csv.DictReader(file))
        print(f"{len(rows)} rows read")
        return rows

    @task
    def transform(rows):
        """Adds the year in Earth days per day of the planet, and keeps planets only."""
        return [
            {
                "name": row["name"],
                "kind": row["kind"],
                "gravity": float(row["gravity_m_s2"]),
                "days_per_year": round(float(row["orbital_period_days"]) * 24 / float(row["day_hours"]), 1),
            }
            for row in rows
            if row["kind"] != "dwarf"
        ]

    @task(multiple_outputs=True)
    def aggregate(rows) -> dict:
        kinds = sorted({row["kind"] for row in rows})
        gravity = {kind: [row["gravity"] for row in rows if row["kind"] == kind] for kind in kinds}
        return {"count": len(rows), "mean_gravity": {kind: sum(g) / len(g) for kind, g in gravity.items()}}

    @task
    def load(rows, summary, **context):
        path = output_folder(context) / "planets.json"
        path.write_text(json.dumps({"planets": rows, "summary": summary}, indent=1))
        return str(path)

    check = BashOperator(
        task_id="check",
        bash_command="test -s '{{ ti.xcom_pull(task_ids=\"load\") }}' && wc -c '{{ ti.xcom_pull(task_ids=\"load\") }}'",
    )
    rows = transform(extract())
    load(rows, aggregate(rows)) >> check
