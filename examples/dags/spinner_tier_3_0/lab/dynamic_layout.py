"""A DynamicDAG: the tasks of a run come from its conf. Try conf {"planets": ["Io", "Europa"]}."""

from sample_defaults import COMMON
from spinner import BashOperator, DynamicDAG, Tier, task


class PlanetTour(DynamicDAG):
    """Visits each planet of the conf, one after the other, then comes home."""

    def compute_layout(self, dynamic_dag, execution_date, dagrun_conf):
        planets = dagrun_conf.get("planets", ["Mars", "Jupiter", "Saturn"])

        @task
        def home():
            return len(planets)

        before = None
        for planet in planets:
            visit = BashOperator(task_id=f"visit_{planet.lower()}", bash_command=f"echo {planet} on {{{{ ds }}}}")
            if before is not None:
                before >> visit
            before = visit
        end = home()
        if before is not None:
            before >> end


dag = PlanetTour("sample_dynamic", tier=Tier.TIER3, tags=["sample", "dynamic"], doc_md=__doc__, **COMMON)
