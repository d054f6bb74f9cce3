"""Dynamic mapping: product, zip, expand_kwargs, map, and an operator expanded over commands."""

from sample_defaults import COMMON
from spinner import DAG, BashOperator, Tier, task

with DAG("sample_mapping", tier=Tier.TIER2, tags=["sample", "mapping"], doc_md=__doc__, **COMMON):

    @task
    def planets():
        return ["Mercury", "Venus", "Earth", "Mars"]

    @task
    def moons():
        return [0, 0, 1, 2]

    @task
    def visit(planet, ship):
        return f"{ship} to {planet}"

    @task
    def describe(pair):
        planet, count = pair
        return f"{planet} has {count} moons"

    @task
    def orders():
        return [{"item": "fuel", "amount": 3}, {"item": "water", "amount": 5}]

    @task
    def buy(item, amount):
        return amount

    @task
    def total(amounts):
        assert sum(amounts) == 8, list(amounts)
        return sum(amounts)

    @task
    def check(visits, descriptions):
        assert len(visits) == 8 and visits[1] == "Voyager to Mercury", visits
        assert descriptions[3] == "MARS has 2 moons", descriptions

    names = planets()
    visits = visit.expand(planet=names, ship=["Apollo", "Voyager"])
    descriptions = describe.expand(pair=names.map(lambda name: name.upper()).zip(moons()))
    check(visits, descriptions)
    total(buy.expand_kwargs(orders()))
    BashOperator.partial(task_id="commands").expand(bash_command=["echo one", "echo two", "echo {{ ds }}"])
