"""The executor's settings, from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr
from spinner.runtime.boundedlog import Bounds
from spinner_servicekit.quantities import parse_bytes
from spinner_servicekit.settings import ServiceSettings

Bytes = Annotated[int, BeforeValidator(parse_bytes)]


class Settings(ServiceSettings):
    """Times are seconds. Worker's lease < executor's time-out < scheduler's (ARCHITECTURE, "Tries")."""

    grpc_address: str = Field(default="127.0.0.1:50052", description="where the gRPC server listens; port 0 picks one")
    executor_data: Path = Field(
        default=Path(".spinner/executor"), description="folder of tries, sockets and unpacked bundles"
    )
    executor_backend: Literal["local", "kubernetes"] = Field(
        default="local", description="where workers live: processes of this machine, or pods"
    )
    executor_parallelism: int = Field(
        default=0, ge=0, description="live workers at most, the rest waits by priority; 0: 32 processes, 10000 pods"
    )
    executor_beginners: int = Field(
        default=0, ge=0, description="local workers at most that begin at the same time; 0: two for each core"
    )
    executor_memory: Bytes = Field(
        default=0, description="bytes (or 48Gi) that requests of live workers may add up to here; 0: no bound"
    )
    executor_ahead: int = Field(default=4, ge=0, description="idle workers forked ahead")
    executor_niceness: int = Field(
        default=5, ge=0, le=19, description="by how much local workers give way to the services on a busy machine"
    )
    executor_entry: str = Field(
        default="spinner.runtime.runner:run_local", description="module:function that a local worker calls"
    )
    executor_advertised: str = Field(
        default="", description="address in reports, for live logs; empty: the gRPC address"
    )
    executor_stop_workers: bool = Field(
        default=False, description="a stop ends workers and fork server, too; otherwise the next executor adopts them"
    )
    kubernetes_config: str = Field(
        default="", description="kubeconfig file; empty: in-cluster credentials, otherwise the user's kubeconfig"
    )
    kubernetes_namespace: str = Field(default="", description="namespace of pods; empty: spinner-<cluster>")
    kubernetes_image: str = Field(default="spinner-worker", description="image of workers")
    kubernetes_template: Path | None = Field(
        default=None, description="YAML or JSON file: a pod whose metadata and spec all workers' pods begin with"
    )
    kubernetes_cache: dict[str, Any] = Field(
        default={"emptyDir": {}},
        description="JSON object: volume source of bundles and packages; a shared one keeps them between pods",
    )
    kubernetes_legacy_image: str = Field(
        default="", description="image beside the worker that runs migrated jobs which name none; empty: the worker's"
    )
    kubernetes_service_account: str = Field(default="", description="service account of pods; empty: the default one")
    kubernetes_annotations: dict[str, str] = Field(default={}, description="JSON object: annotations of every pod")
    kubernetes_address: str = Field(
        default="", description="host:port (comma-separated) where pods reach the executors; empty: the advertised one"
    )
    kubernetes_parallel_calls: int = Field(default=32, ge=1, description="API calls in flight at most")
    kubernetes_pending_seconds: float = Field(
        default=1800.0, gt=0, description="a pod that does not run after so long is given up (never scheduled)"
    )
    kubernetes_image_seconds: float = Field(
        default=300.0, gt=0, description="a pod whose image or configuration is wrong for so long is given up"
    )
    kubernetes_resync_seconds: float = Field(
        default=600.0, gt=0, description="how often pods are listed again beside the watch"
    )
    executor_readiness: list[str] = Field(
        default=[], description='JSON list: "name=host:port" that workers must reach before user code begins'
    )
    triggerers: str = Field(
        default="", description="host:port (comma-separated) of triggerer services; empty: triggers run beside this one"
    )
    triggerer_capacity: int = Field(default=5000, ge=1, le=16384, description="triggers in one triggerer process")
    triggerer_memory: Bytes = Field(
        default=512 << 20, description="what one triggerer process may hold before its largest trigger is set apart"
    )
    bundle_cache_bytes: Bytes = Field(
        default=10 << 30, ge=0, description="unpacked bundles here; those unused for longest go first; 0: no bound"
    )
    bundle_cache_seconds: float = Field(
        default=7 * 86400.0, ge=0, description="an unpacked bundle that was not used for so long goes; 0: it stays"
    )
    cache_bytes: Bytes = Field(
        default=10 << 30, ge=0, description="packages installed for tasks; those unused for longest go; 0: no bound"
    )
    log_head: Bytes = Field(default=64 << 20, gt=0, description="bytes (or 64Mi) kept from a long log's beginning")
    log_tail: Bytes = Field(default=16 << 20, gt=0, description="bytes kept from its end, and up to twice as much")
    kubernetes_log_rate: Bytes = Field(
        default=32 << 20,
        gt=0,
        description="bytes a second beyond log_head that a node keeps, too; 48 more for each line",
    )
    log_topic: bool = Field(
        default=True, description="write logs to task_logs, too, which the gateway's Elasticsearch index is made from"
    )
    heartbeat_seconds: float = Field(default=5.0, gt=0, description="how often a worker renews its lease")
    lease_seconds: float = Field(default=30.0, gt=0, description="a worker without an answer so long kills itself")
    lost_after_seconds: float = Field(default=45.0, gt=0, description="a worker without heartbeat so long is lost")
    kill_grace_seconds: float = Field(default=10.0, ge=0, description="from SIGTERM to SIGKILL of a cancelled worker")
    memory_learning: bool = Field(default=True, description="requests follow what the latest 30 successes used")
    memory_percentile: float = Field(default=95.0, gt=0, le=100, description="of their peaks, the one that is taken")
    memory_head_room: float = Field(default=0.2, ge=0, description="fraction added to it")
    memory_minimum: Bytes = Field(default=64 << 20, description="a learned request is at least this, bytes")
    memory_maximum: Bytes = Field(default=64 << 30, description="a learned request or raised limit is at most this")
    secrets: str = Field(
        default="environment,spinner",
        description="where connections and variables are looked up, in order: environment, file, vault, aws, spinner",
    )
    secrets_ttl_seconds: float = Field(default=300.0, ge=0, description="how long answers of vault and aws are kept")
    secrets_file: Path = Field(default=Path("secrets.yaml"), description="of back end file: YAML or JSON")
    vault_url: str = Field(default="http://127.0.0.1:8200", description="of back end vault")
    vault_token: SecretStr = Field(default=SecretStr(""), description="signs in to vault; or use an AppRole or a role")
    vault_role_id: str = Field(default="", description="AppRole to sign in to vault with")
    vault_secret_id: SecretStr = Field(default=SecretStr(""), description="secret id of the AppRole")
    vault_role: str = Field(default="", description="role to sign in to vault with by the pod's service account")
    vault_mount: str = Field(default="secret", description="mount of vault's key-value engine")
    vault_path: str = Field(default="spinner", description="folder in it that holds connections/ and variables/")
    vault_kv_version: Literal[1, 2] = Field(default=2, description="version of the engine")
    vault_namespace: str = Field(default="", description="namespace of Vault Enterprise")
    aws_secrets_prefix: str = Field(default="spinner", description="before connections/ and variables/ of back end aws")
    aws_secrets_region: str = Field(default="", description="AWS region; empty: as boto3 finds it")
    aws_secrets_endpoint: str = Field(default="", description="address of AWS Secrets Manager; empty: AWS")

    @property
    def log_bounds(self) -> Bounds:
        """What is kept of a try's log."""
        return Bounds(self.log_head, self.log_tail)
