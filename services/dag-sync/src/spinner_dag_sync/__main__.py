"""`python -m spinner_dag_sync`."""

from spinner_servicekit.app import run

from spinner_dag_sync.app import main
from spinner_dag_sync.settings import DagSyncSettings

if __name__ == "__main__":
    run("dag-sync", DagSyncSettings, main)
