"""How large the workloads are: as performance.md defines them, or small ones to try whether a peer works at all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """W1 is a chain, W2 one task before and one after a fan-out, W3 chains in many DAGs started at once."""

    chain: int = 40
    fan_out: int = 200
    dags: int = 200
    tasks_of_a_dag: int = 10

    def tasks(self, workload: str) -> int:
        """How many tasks one run of a workload has."""
        return {"w1": self.chain, "w2": self.fan_out + 2, "w3": self.dags * self.tasks_of_a_dag}[workload]

    @property
    def environment(self) -> dict[str, str]:
        """How the peers' workload files learn it."""
        return {
            "BENCH_CHAIN": str(self.chain),
            "BENCH_FAN_OUT": str(self.fan_out),
            "BENCH_DAGS": str(self.dags),
            "BENCH_TASKS_OF_A_DAG": str(self.tasks_of_a_dag),
        }


FULL = Sizes()
SMALL = Sizes(chain=5, fan_out=8, dags=4, tasks_of_a_dag=3)
