"""Settings of dag-sync."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from spinner_servicekit.settings import ServiceSettings


class DagSyncSettings(ServiceSettings):
    bundles: Path = Field(Path("spinner-bundles.yaml"), description="YAML file with the list of bundles")
    token_fetcher: str = Field("127.0.0.1:50054", description="gRPC address of the token-fetcher, for pinball bundles")
    parse_parallel: int = Field(2, ge=1, le=64, description="DAG files that are read at the same time")
    state_folder: str = Field("", description="folder for caches that may be lost; empty: a temporary one")
