"""Setup and teardown: the cluster is removed although the work on it failed, and the run fails because of the work."""

from sample_defaults import COMMON
from spinner import DAG, Tier, setup, task, teardown

with DAG("sample_setup_teardown", tier=Tier.TIER2, tags=["sample", "setup"], doc_md=__doc__, **COMMON):

    @setup
    def create_cluster():
        return "cluster-1"

    @teardown
    def delete_cluster(cluster):
        print("deleted", cluster)

    @task
    def load(cluster):
        print("loading on", cluster)

    @task
    def query(cluster):
        raise RuntimeError(f"query on {cluster} was refused: quota exceeded for user samples")

    created = create_cluster()
    with delete_cluster(created).as_teardown(setups=created):
        load(created) >> query(created)
