"""Settings of the gateway, from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each is the variable SPINNER_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="SPINNER_", extra="ignore")

    kafka: str = Field("127.0.0.1:19092", description="Bootstrap servers.")
    kafka_prefix: str = Field("", description="Put before every topic, for several installations on one broker.")
    cluster: str = Field("spinner", description="Cluster whose cells are shown.")
    tiers: str = Field("1,2,3", description="Tiers whose cells are shown, with commas.")
    object_store: str = Field("", description="file:///path or s3://bucket/prefix; empty: .spinner/objects here.")
    database: str = Field("", description="sqlite:///path or mysql+pymysql://…; empty: .spinner/views.db here.")
    http_address: str = Field("127.0.0.1:8080", description="Where REST and the UI are served; port 0 picks one.")
    grpc_address: str = Field("127.0.0.1:50050", description="Where gRPC is served; port 0 picks one.")
    metrics_address: str = Field("", description="Also serve Prometheus metrics here; empty: only at /metrics.")
    elasticsearch: str = Field("", description="URL of Elasticsearch for search and logs; empty: the database.")
    elasticsearch_prefix: str = Field("spinner", description="Put before every index.")
    log_index_days: int = Field(14, ge=1, description="Days that daily log indices are kept.")
    development_user: str = Field("", description="Name of the user that everyone is, on one's own machine only.")
    environment: str = Field("local", description="Shown in the UI: nobody mistakes production.")
    secret_key: str = Field("", repr=False, description="Fernet key of connections and secret variables.")
    ui_dist: Path | None = Field(None, description="Folder of the built UI; empty: that of the source tree.")
    answer_seconds: float = Field(10.0, gt=0, description="How long a command waits for the scheduler, seconds.")

    def tier_numbers(self) -> list[int]:
        return [int(part) for part in self.tiers.split(",") if part.strip()]

    def database_url(self) -> str:
        return self.database or f"sqlite:///{Path.cwd() / '.spinner' / 'views.db'}"

    def object_store_url(self) -> str:
        return self.object_store or f"file://{Path.cwd() / '.spinner' / 'objects'}"
