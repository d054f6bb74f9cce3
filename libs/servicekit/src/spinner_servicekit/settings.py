"""Typed settings from the environment, prefix `SPINNER_`; every service adds its own by subclassing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

S = TypeVar("S", bound="ServiceSettings")


class ServiceSettings(BaseModel):
    """What all services share. Names of fields are names of variables: `kafka` is `SPINNER_KAFKA`.

    What is not given to the constructor comes from the environment; lists and dictionaries are JSON there.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    kafka: str = Field(default="127.0.0.1:19092", description="Kafka bootstrap servers")
    topic_prefix: str = Field(
        default="", description="put before topics, groups and transactional ids on a shared broker"
    )
    cluster: str = Field(default="spinner", pattern=r"^[a-z][a-z0-9]{0,30}$", description="cluster name")
    tiers: tuple[int, ...] = Field(default=(1, 2, 3), description="tiers that this process serves")
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

    @model_validator(mode="before")
    @classmethod
    def _from_environment(cls, given: dict[str, Any]) -> dict[str, Any]:
        stated = {name: os.environ.get(variable(name)) for name in cls.model_fields}
        return {name: text for name, text in stated.items() if text is not None} | given

    @field_validator("*", mode="before")
    @classmethod
    def _parse(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str) and get_origin(cls.model_fields[info.field_name or ""].annotation) in (dict, list):
            return json.loads(value)  # its error is a ValueError, which pydantic explains
        return value

    @field_validator("tiers", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def variable(field: str) -> str:
    """Returns the name of a field's environment variable."""
    return f"SPINNER_{field.upper()}"


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
            name = variable("_".join(str(part) for part in wrong["loc"][:1]))
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
        rows.append((variable(name), str(default) or "-", info.description or ""))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{name:<{widths[0]}}  {default:<{widths[1]}}  {text}".rstrip() for name, default, text in rows]
    return f"{program}: set by these variables\n\n" + "\n".join(lines)
