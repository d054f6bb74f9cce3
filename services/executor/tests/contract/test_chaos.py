"""Whatever the API does: no pod is made twice, none is left, and every order gets its one end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_proxy import ApiProxy
from places import make_namespace
from spinner_executor.domain import podnames
from spinner_executor.domain.keys import try_key_text
from spinner_proto.orders.v1 import orders_pb2 as o
from spinner_servers import kubernetes
from spinner_servers.kubernetes import Cluster
from stage import Stage, until

PODS = 30
SECONDS = 120.0


class Scene:
    """An executor behind a proxy, whose pods run for a moment on simulated nodes."""

    def __init__(self, cluster: Cluster, kafka: str, folder: Path) -> None:
        self.cluster = cluster
        self.proxy = ApiProxy(cluster, folder)
        self.stage = Stage(kafka, folder)
        self.namespace = f"chaos-{self.stage.prefix.strip('.')}"
        make_namespace(cluster, self.namespace, "type=kwok")
        self.stage.settings |= {
            "executor_backend": "kubernetes",
            "kubernetes_config": str(self.proxy.kubeconfig),
            "kubernetes_namespace": self.namespace,
            "kubernetes_annotations": json.dumps({"spinner.dev/simulated-run": "400ms"}),
            "kubernetes_resync_seconds": 600,
        }

    def orders(self, count: int = PODS) -> list[o.TaskOrder]:
        return [self.stage.order(f"t{n}") for n in range(count)]

    def ends(self) -> Counter[str]:
        return Counter(r.try_key.task_id for r in self.stage.poll() if r.WhichOneof("kind") == "ended")

    def pods(self) -> list[str]:
        found = self.cluster.request("GET", f"/api/v1/namespaces/{self.namespace}/pods")["items"]
        return [pod["metadata"]["name"] for pod in found]

    def check(self, orders: list[o.TaskOrder]) -> None:
        """Every order has ended, with one pod each, and no pod is left."""
        until(lambda: len(self.ends()) == len(orders), "every order ends", SECONDS)
        until(lambda: not self.pods(), "no pod is left", SECONDS)
        names = {podnames.pod_name(order.try_key, try_key_text(order.try_key), 0) for order in orders}
        assert self.proxy.created == dict.fromkeys(names, 1)
        assert set(self.ends().values()) == {1}

    def close(self) -> None:
        self.stage.close()
        self.proxy.close()
        self.cluster.request("DELETE", f"/api/v1/namespaces/{self.namespace}")


@pytest.fixture
def scene(kubernetes_api: Cluster, kafka_bootstrap: str, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(kubernetes_api, kafka_bootstrap, tmp_path)
    yield made
    made.close()


def test_a_calm_api_is_asked_for_nothing_but_what_is_needed(scene: Scene) -> None:
    scene.stage.executor()
    until(lambda: scene.proxy.calls["watch"] == scene.stage.partitions, "one watch a partition")
    orders = scene.orders()
    lists = scene.proxy.calls["list"]
    gets = scene.proxy.calls["GET"]
    scene.stage.write(*orders)
    scene.check(orders)
    assert lists == scene.stage.partitions
    assert (scene.proxy.calls["list"], scene.proxy.calls["GET"]) == (lists, gets)  # none for a task
    assert scene.proxy.calls["watch"] == scene.stage.partitions
    assert scene.proxy.calls["log"] <= len(orders)  # their workers said nothing, so their nodes are asked once


@pytest.mark.parametrize(
    "trouble",
    [
        {"delay": 2.0},
        {"fails": 0.3, "busy": 0.2},
        {"lost_answers": 0.3},
        {"cut_after": 0.3},
        {"repeats": 0.5},
        {"drops": 0.5, "resync": 2.0},
        {"fails": 0.2, "lost_answers": 0.2, "repeats": 0.3, "drops": 0.3, "cut_after": 1.0, "resync": 3.0},
    ],
    ids=["slow", "errors", "answers-lost", "watch-cut", "events-repeated", "events-lost", "all-at-once"],
)
def test_trouble(scene: Scene, trouble: dict[str, float]) -> None:
    for name, value in trouble.items():
        if name == "resync":
            scene.stage.settings["kubernetes_resync_seconds"] = value
        else:
            setattr(scene.proxy, name, value)
    scene.stage.executor()
    orders = scene.orders()
    scene.stage.write(*orders)
    scene.check(orders)


def test_a_storm_of_410_makes_lists_not_losses(scene: Scene) -> None:
    scene.stage.executor()
    scene.proxy.gone = True
    orders = scene.orders()
    scene.stage.write(*orders)
    until(lambda: scene.proxy.calls["list"] > 3 * scene.stage.partitions, "it lists again and again", SECONDS)
    until(lambda: len(scene.ends()) >= PODS // 2, "ends are found by lists alone", SECONDS)
    scene.proxy.gone = False
    scene.check(orders)
    # Between lists it waits longer and longer, instead of listing without end.
    assert scene.proxy.calls["list"] < 40 * scene.stage.partitions


def test_an_api_server_that_restarts_loses_nothing(scene: Scene) -> None:
    scene.stage.executor()
    orders = scene.orders()
    scene.stage.write(*orders[: PODS // 2])
    until(lambda: scene.ends(), "some ended", SECONDS)
    kubernetes.restart_api_server(
        scene.cluster, grace_seconds=0, while_down=lambda: scene.stage.write(*orders[PODS // 2 :])
    )
    scene.check(orders)


def test_an_executor_killed_in_the_middle_of_a_hundred_pods_is_followed_without_a_trace(scene: Scene) -> None:
    scene.stage.settings["kubernetes_annotations"] = json.dumps({"spinner.dev/simulated-run": "3s"})
    first = scene.stage.executor()
    orders = scene.orders(100)
    scene.stage.write(*orders)
    until(lambda: sum(scene.proxy.created.values()) >= 40, "many pods are made", SECONDS)
    first.kill()
    first.wait()
    scene.stage.executor()
    scene.check(orders)


def test_pods_that_nobody_ordered_are_removed(scene: Scene) -> None:
    scene.stage.executor()
    order = scene.stage.order("stray")
    partition = scene.stage.partition_of(order)
    labels = podnames.labels(order.try_key, "spinner", partition)
    pod = {
        "metadata": {
            "name": "made-by-a-fenced-executor",
            "labels": labels,
            "annotations": podnames.marks(try_key_text(order.try_key), 0, "x"),
        },
        "spec": {"containers": [{"name": "worker", "image": "none"}]},
    }
    scene.cluster.request("POST", f"/api/v1/namespaces/{scene.namespace}/pods", pod)
    until(lambda: not scene.pods(), "it is gone")
