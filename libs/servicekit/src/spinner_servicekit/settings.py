"""Typed settings from the environment, prefix `SPINNER_`; every service adds its own by subclassing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

S = TypeVar("S", bound="ServiceSettings")


class ServiceSettings(BaseSettings):
    """What all services share. Names of fields are names of variables: `kafka` is `SPINNER_KAFKA`."""

    model_config = SettingsConfigDict(env_prefix="SPINNER_", extra="ignore", frozen=True)

    kafka: str = Field(default="127.0.0.1:19092", description="Kafka bootstrap servers")
    topic_prefix: str = Field(
        default="", description="put before topics, groups and transactional ids on a shared broker"
    )
    cluster: str = Field(default="spinner", pattern=r"^[a-z][a-z0-9]{0,30}$", description="cluster name")
    tiers: Annotated[tuple[int, ...], NoDecode] = Field(default=(1, 2, 3), description="tiers that this process serves")
    object_store: str = Field(
        default_factory=lambda: f"file://{Path.cwd()}/.spinner/objects",
        description="file:///path or s3://bucket/prefix",
    )
    s3_endpoint: str = Field(default="", description="S3 endpoint URL; empty: AWS")
    grpc_address: str = Field(default="127.0.0.1:0", description="where the gRPC server listens; port 0 picks one")
    metrics_address: str = Field(default="", description="Prometheus endpoint, host:port; empty: none")
    otlp_endpoint: str = Field(default="", description="where traces go (OTLP over gRPC); empty: nowhere")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level that is logged"
    )
    log_format: Literal["json", "console"] = Field(default="json", description="json or console")
    secret_key: SecretStr = Field(default=SecretStr(""), description="Fernet key for connections and secret variables")
    status_file: str = Field(default="", description="file where the service writes its addresses and state as JSON")

    @field_validator("tiers", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def load(settings_type: type[S], program: str, arguments: Sequence[str] | None = None) -> S:
    """Reads the settings; `--help` prints them and exits 0, an invalid variable is explained and exits 2."""
    given = sys.argv[1:] if arguments is None else arguments
    if "--help" in given or "-h" in given:
        print(help_text(settings_type, program))
        raise SystemExit(0)
    if given:
        print(f"{program} takes no arguments ({' '.join(given)}): it is set by variables, see --help", file=sys.stderr)
        raise SystemExit(2)
    try:
        return settings_type()
    except ValidationError as error:
        for wrong in error.errors():
            name = "SPINNER_" + "_".join(str(part) for part in wrong["loc"][:1]).upper()
            print(f"{program}: {name}={wrong['input']!r}: {wrong['msg']}; see --help", file=sys.stderr)
        raise SystemExit(2) from None


def help_text(settings_type: type[ServiceSettings], program: str) -> str:
    """A table of variable, default and description."""
    rows = []
    for name, info in settings_type.model_fields.items():
        default = info.get_default(call_default_factory=True, validated_data={})
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        if isinstance(default, tuple):
            default = ",".join(str(part) for part in default)
        rows.append((f"SPINNER_{name.upper()}", str(default) or "-", info.description or ""))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{name:<{widths[0]}}  {default:<{widths[1]}}  {text}".rstrip() for name, default, text in rows]
    return f"{program}: set by these variables\n\n" + "\n".join(lines)
