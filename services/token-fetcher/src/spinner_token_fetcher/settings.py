"""Settings of the token-fetcher."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator
from spinner_servicekit.settings import ServiceSettings

CommandShape = Literal["pinball", "data_job_runner"]
_RUNNERS: dict[str, str] = {
    "pinball": "python -m pinball_ext.job.job_runner",
    "data_job_runner": "python data_job_runner.py",
}


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """`config` is the name of Pinball's YAML file below `root`; empty: the only one there with parser_params."""

    name: str
    root: Path
    config: str = ""


class TokenFetcherSettings(ServiceSettings):
    pinball_repositories: tuple[RepositorySettings, ...] = Field(
        (), description="name=folder, comma-separated; name=folder:file.yaml names Pinball's configuration in it"
    )
    pinball_command_shape: CommandShape = Field(
        "data_job_runner",
        description="how a job's command looks: pinball (job_runner by import dirs) or data_job_runner (full class)",
    )
    pinball_runner: str = Field("", description="program that runs job classes; empty: the one of the command's shape")
    pinball_job_repo_dir: str = Field(".", description="folder that commands of the shape pinball change to")
    pinball_timeout_seconds: float = Field(30.0, ge=0.1, le=3600, description="to read one repository")
    pinball_memory_mib: int = Field(1024, ge=64, description="to read one repository")

    @property
    def runner(self) -> str:
        return self.pinball_runner or _RUNNERS[self.pinball_command_shape]

    @field_validator("pinball_repositories", mode="before")
    @classmethod
    def _repositories(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = []
        for part in filter(None, (item.strip() for item in value.split(","))):
            name, separator, place = part.partition("=")
            if not separator or not name.strip() or not place.strip():
                raise ValueError(f"{part!r} is not name=folder")
            folder, _, config = place.strip().partition(":")
            found.append(RepositorySettings(name.strip(), Path(folder).expanduser(), config))
        return tuple(found)
