"""What a worker's pod looks like: secure by default, as asked (A7), and always this worker's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from spinner_executor.adapters.backend import Launch, LaunchFailed
from spinner_executor.adapters.kubernetes.pod import PodSettings, build, read_template
from spinner_executor.domain.podmerge import merge
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.orders.v1 import orders_pb2 as o

SETTINGS = PodSettings("spinner-x", "x", "company/worker:1")


def launch(runtime: str = "spinner", tier: int = 1, memory: tuple[int, int] = (0, 0), **resources: Any) -> Launch:
    key = c.TryKey(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1)
    order = o.TaskOrder(try_key=key, runtime=runtime, tier=tier, resources_json=json.dumps(resources))
    return Launch("d/r/t/-1/1", 0, "worker-1", "", "executors:50052", 3, order, *memory)


def pod_of(settings: PodSettings = SETTINGS, **asked: Any) -> dict[str, Any]:
    return build(launch(**asked), "nonce", settings)


def worker_of(pod: dict[str, Any]) -> dict[str, Any]:
    (worker,) = (each for each in pod["spec"]["containers"] if each["name"] == "worker")
    return worker


def env_of(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"]}


def test_a_pod_is_secure_by_default() -> None:
    spec = pod_of()["spec"]
    context = spec["securityContext"]
    assert context["runAsNonRoot"] and context["runAsUser"] != 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    container = spec["containers"][0]["securityContext"]
    assert container["readOnlyRootFilesystem"] and not container["allowPrivilegeEscalation"]
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert not spec["automountServiceAccountToken"] and not spec["enableServiceLinks"]
    assert spec["restartPolicy"] == "Never"


def test_the_kubelet_gives_the_worker_alone_a_token_for_its_order_partition() -> None:
    pod = pod_of()
    (volume,) = (each for each in pod["spec"]["volumes"] if each["name"] == "token")
    (source,) = volume["projected"]["sources"]
    assert source["serviceAccountToken"] == {"audience": "spinner:x:3", "path": "token"}
    assert volume["projected"]["defaultMode"] == 0o440
    (mount,) = (each for each in worker_of(pod)["volumeMounts"] if each["name"] == "token")
    assert env_of(worker_of(pod))["SPINNER_TOKEN_FILE"] == f"{mount['mountPath']}/token"


def test_everything_that_a_task_may_ask_arrives() -> None:
    pod = pod_of(
        image="company/etl:7",
        env={"MODE": "fast", "DEBUG": True},
        memory=(1 << 28, 1 << 29),
        request_cpu="250m",
        limit_cpu=2,
        request_storage="1Gi",
        node_selectors={"disk": "ssd"},
        tolerations=[{"key": "gpu", "operator": "Exists"}],
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        volume_mounts=[{"name": "data", "mountPath": "/data"}],
        service_account_name="etl",
        labels={"team": "growth"},
        annotations={"note": "x"},
        kill_grace_seconds=90,
    )
    spec, worker = pod["spec"], worker_of(pod)
    assert worker["image"] == "company/etl:7"
    assert {"MODE": "fast", "DEBUG": "true"}.items() <= env_of(worker).items()
    assert worker["resources"] == {
        "requests": {"memory": str(1 << 28), "cpu": "250m", "ephemeral-storage": "1Gi"},
        "limits": {"memory": str(1 << 29), "cpu": "2"},
    }
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert {"data", "token", "tmp", "cache"} == {volume["name"] for volume in spec["volumes"]}
    assert {"name": "data", "mountPath": "/data"} in worker["volumeMounts"]
    assert spec["serviceAccountName"] == "etl" and spec["automountServiceAccountToken"]
    assert spec["terminationGracePeriodSeconds"] == 90
    assert pod["metadata"]["labels"]["team"] == "growth" and pod["metadata"]["annotations"]["note"] == "x"


def test_layers_template_then_task_then_override_and_never_the_identity() -> None:
    template = {
        "metadata": {"labels": {"from": "template"}},
        "spec": {
            "hostNetwork": True,
            "nodeSelector": {"pool": "spinner", "zone": "a"},
            "containers": [{"name": "worker", "env": [{"name": "WHO", "value": "template"}]}],
        },
    }
    override = {
        "metadata": {"name": "mine", "labels": {"spinner.dev/partition": "99", "mine": "yes"}},
        "spec": {
            "restartPolicy": "Always",
            "nodeSelector": {"zone": None},
            "containers": [
                {
                    "name": "base",  # Airflow's name
                    "command": ["sh"],
                    "env": [{"name": "WHO", "value": "override"}, {"name": "SPINNER_TOKEN_FILE", "value": "/mine"}],
                },
                {"name": "proxy", "image": "company/proxy:1"},
            ],
        },
    }
    settings = PodSettings("spinner-x", "x", "company/worker:1", template=template)
    pod = pod_of(settings, env={"WHO": "task"}, pod_override=override)
    spec, metadata, worker = pod["spec"], pod["metadata"], worker_of(pod)
    assert spec["hostNetwork"] and spec["nodeSelector"] == {"pool": "spinner"}
    assert metadata["labels"]["from"] == "template" and metadata["labels"]["mine"] == "yes"
    assert env_of(worker)["WHO"] == "override"
    assert [container["name"] for container in spec["containers"]] == ["worker", "proxy"]
    assert metadata["name"] == "worker-1" and metadata["labels"]["spinner.dev/partition"] == "3"
    assert worker["command"] == ["python3", "-m", "spinner.runtime"] and spec["restartPolicy"] == "Never"
    assert env_of(worker)["SPINNER_TOKEN_FILE"].startswith("/var/run/secrets/")


def test_a_migrated_job_has_the_legacy_image_beside_its_worker() -> None:
    pod = pod_of(runtime="pinball", legacy_image="company/legacy:2", memory=(1 << 30, 1 << 31), env={"MODE": "x"})
    (legacy,) = pod["spec"]["initContainers"]
    assert legacy["image"] == "company/legacy:2" and legacy["restartPolicy"] == "Always"
    assert legacy["resources"]["limits"]["memory"] == str(1 << 31)
    assert env_of(legacy) == {"MODE": "x"}
    assert "token" not in {mount["name"] for mount in legacy["volumeMounts"]}
    assert not legacy["securityContext"]["allowPrivilegeEscalation"]
    assert env_of(worker_of(pod))["SPINNER_LEGACY"] in {mount["mountPath"] for mount in legacy["volumeMounts"]}
    assert "initContainers" not in pod_of(runtime="spinner", legacy_image="company/legacy:2")["spec"]
    settings = PodSettings("spinner-x", "x", "company/worker:1", legacy_image="company/default:1")
    assert pod_of(settings, runtime="pinball")["spec"]["initContainers"][0]["image"] == "company/default:1"


@pytest.mark.parametrize(
    ("asked", "words"),
    [({"gpus": 2}, "gpus is not known"), ({"env": {"SPINNER_POD": "x"}}, "SPINNER_POD"),
     ({"tolerations": "all"}, "tolerations")],
)  # fmt: skip
def test_what_cannot_be_honoured_is_a_configuration_error(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(LaunchFailed, match=words) as refused:
        pod_of(**asked)
    assert refused.value.outcome == c.OUTCOME_CONFIG_ERROR


def test_priority_follows_the_tier() -> None:
    settings = PodSettings("spinner-x", "x", "i", priority_classes={1: "spinner-tier-1"})
    assert pod_of(settings, tier=1)["spec"]["priorityClassName"] == "spinner-tier-1"
    assert "priorityClassName" not in pod_of(settings, tier=2)["spec"]


@pytest.mark.parametrize(
    ("base", "patch", "merged"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}}, {"a": {"c": 2, "d": 3}}),
        ({"args": [1, 2]}, {"args": [3]}, {"args": [3]}),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},
        ),
        ({"volumes": [{"name": "v"}, {"name": "w"}]}, {"volumes": [{"name": "v", "$patch": "delete"}]},
         {"volumes": [{"name": "w"}]}),
        ({"volumes": [{"name": "v"}]}, {"volumes": [{"$patch": "replace"}, {"name": "w"}]},
         {"volumes": [{"name": "w"}]}),
        ({"a": {"b": 1}}, {"a": {"$patch": "replace", "c": 2}}, {"a": {"c": 2}}),
    ],
)  # fmt: skip
def test_merging_is_kubernetes(base: dict[str, Any], patch: dict[str, Any], merged: dict[str, Any]) -> None:
    before = json.dumps([base, patch])
    assert merge(base, patch) == merged
    assert json.dumps([base, patch]) == before


def test_a_template_is_a_pod(tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text("spec:\n  hostNetwork: true\n")
    assert read_template(file) == {"spec": {"hostNetwork": True}}
    file.write_text("- a\n- b\n")
    with pytest.raises(ValueError, match="is no pod"):
        read_template(file)
