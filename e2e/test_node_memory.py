"""A real node that runs out of memory: its kubelet evicts a pod, and the whole stack makes the best of it.

The node has a few hundred MiB for its pods, so what else this machine does, or keeps of files, has no part in it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from spinner_objectstore.s3 import S3Store
from spinner_proto.common.v1 import common_pb2 as c
from spinner_servers import kubernetes_node, worker_image
from spinner_servers.kubernetes_node import Node

from e2e.harness import ROOT, Stack, unique, wait_for

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]
NAMESPACE = "node-memory"
NODE_BYTES = 400 << 20
DAG = """
import time
from marks import mark
from spinner import DAG, get_current_context, task

ACCESS = {"everyone": ["can_dag_read", "can_dag_edit"]}

with DAG("node_memory", tier=1, access_control=ACCESS, schedule=None, default_args={"retries": 0}):
    @task(executor_config={"request_memory": "64Mi"})
    def greedy():
        context = get_current_context()
        mark(context, "start")
        if context["ti"].try_number > 1:
            return
        taken = bytearray(500 << 20)
        for page in range(0, len(taken), 4096):
            taken[page] = 1
        print("took it all", flush=True)
        time.sleep(600)

    greedy()
"""


@pytest.fixture(scope="module")
def small_node() -> Iterator[Node]:
    if why := kubernetes_node.missing():
        pytest.skip(why)
    data = Path(tempfile.mkdtemp(prefix="spinner-node-"))
    try:
        yield kubernetes_node.start(data, with_parent=True, memory_bytes=NODE_BYTES)
    finally:
        kubernetes_node.remove(data)


@pytest.fixture(scope="module")
def pods_stack(small_node: Node, s3_endpoint: dict[str, str]) -> Iterator[Stack]:
    """A stack whose executor runs pods on that node."""
    credentials = {
        "AWS_ACCESS_KEY_ID": s3_endpoint["access_key"],
        "AWS_SECRET_ACCESS_KEY": s3_endpoint["secret_key"],
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in credentials.items():
            patch.setenv(name, value)
        S3Store(NAMESPACE, endpoint=s3_endpoint["url"]).make_bucket()
    small_node.kubectl("create", "namespace", NAMESPACE)
    stack = Stack({}, examples=False, settings=credentials)
    # The node has no network of its own, and pods' users are others than the stack's.
    for folder in (stack.home, stack.marks):
        folder.chmod(0o777)
    template = stack.home / "template.json"
    marks = {"name": "marks", "mountPath": str(stack.marks)}
    stack.environment |= {
        "SPINNER_OBJECT_STORE": f"s3://{NAMESPACE}/x",
        "SPINNER_S3_ENDPOINT": s3_endpoint["url"],
        "SPINNER_EXECUTOR_BACKEND": "kubernetes",
        "SPINNER_KUBERNETES_CONFIG": str(small_node.cluster.kubeconfig),
        "SPINNER_KUBERNETES_NAMESPACE": NAMESPACE,
        "SPINNER_KUBERNETES_IMAGE": worker_image.WORKER,
        "SPINNER_KUBERNETES_ADDRESS": f"127.0.0.1:{stack.port('executor')}",
        "SPINNER_KUBERNETES_TEMPLATE": str(template),
    }
    template.write_text(
        json.dumps(
            {
                "spec": {
                    "hostNetwork": True,
                    "containers": [{"name": "worker", "volumeMounts": [marks]}],
                    "volumes": [{"name": "marks", "hostPath": {"path": str(stack.marks)}}],
                }
            }
        )
    )
    shutil.copy(ROOT / "e2e" / "dags" / "marks.py", stack.scratch)
    (stack.scratch / "node_memory.py").write_text(DAG)
    try:
        stack.up()
        wait_for("the DAG", lambda: "node_memory" in stack.dag_ids(), 60)
        yield stack
    finally:
        stack.close()


def test_a_pod_that_its_kubelet_evicts_for_memory_is_tried_again_for_free(pods_stack: Stack, small_node: Node) -> None:
    stack = pods_stack
    run_id = stack.trigger("node_memory", unique("full"))
    greedy = f"/dags/node_memory/runs/{quote(run_id, safe='')}/tasks/greedy/-1"
    try:
        assert stack.finished("node_memory", run_id, 240)["state"] == "success"
    except AssertionError:
        print(stack.rest("GET", greedy).text, *stack.tasks("node_memory", run_id), sep="\n")
        print(small_node.kubectl("get", "pods,events", "-n", NAMESPACE, "-o", "wide"))
        print(small_node.kubectl("describe", "nodes"))
        print("\n".join((stack.home / "logs" / "executor.log").read_text().splitlines()[-40:]))
        raise

    # A kubelet may evict again before it has seen that the memory is free: then that is one more try for free.
    *evicted, last = stack.rest("GET", greedy).json()["tries"]
    assert evicted and last["outcome"] == "success"
    for each in evicted:
        assert each["outcome"] == each["diagnosis"]["category"] == "node_out_of_memory", each["message"]
    message = evicted[0]["message"]
    assert "The node was low on resource: memory" in message and "Container worker was using" in message
    assert "took it all" in stack.rest("GET", f"{greedy}/tries/1/log").text

    records = [record for record in stack.records("node_memory") if record.instance_id == run_id]
    assert [(record.try_number, record.status, record.outcome) for record in records] == [
        *((number, "up_for_retry", c.OUTCOME_NODE_OUT_OF_MEMORY) for number in range(1, len(evicted) + 1)),
        (len(evicted) + 1, "success", c.OUTCOME_SUCCESS),
    ]
    assert records[0].message == message

    starts = Counter(mark.try_number for mark in stack.read_marks("node_memory", {run_id}))
    assert starts[1] == starts[last["try_number"]] == 1 and set(starts.values()) == {1}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    wait_for("no pod is left", lambda: not small_node.cluster.request("GET", path)["items"], 60)
