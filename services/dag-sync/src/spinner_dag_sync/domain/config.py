"""Which bundles there are: the YAML file that `SPINNER_BUNDLES` names.

    bundles:
      - {name: main, kind: folder, path: ./dags}
      - {name: team, kind: git, url: https://example.com/dags.git, branch: main, subfolder: spinner}
      - {name: store, kind: object-store, url: s3://bucket/dags, interval_seconds: 30}
      - {name: old, kind: pinball, repository: reports, path: ./old, tier: 2, access_control: {data: [can_dag_read]}}

An entry that is wrong is reported; the others go on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from spinner.core.resources import problems

Kind = Literal["folder", "git", "object-store", "pinball"]
_DEFAULT_INTERVALS: Mapping[str, float] = {"folder": 2.0, "git": 30.0, "object-store": 30.0, "pinball": 30.0}
_NEEDS: Mapping[str, str] = {"folder": "path", "git": "url", "object-store": "url", "pinball": "repository"}


class Bundle(BaseModel):
    """One entry. What a DAG leaves open (tier, access_control, owner, project) the bundle may give."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", description="unique; part of object keys")
    kind: Kind
    path: Path | None = Field(None, description="folder: its root; pinball: the repository's root")
    url: str | None = Field(None, description="git: what to clone; object-store: s3://bucket/prefix or file:///folder")
    branch: str = Field("main", description="git: branch, tag or commit")
    subfolder: str = Field("", description="git: the folder in the repository that is the bundle's root")
    repository: str | None = Field(None, description="pinball: the repository's name in the token-fetcher")
    token_fetcher: str | None = Field(None, description="pinball: host:port, instead of SPINNER_TOKEN_FETCHER")
    interval_seconds: float | None = Field(None, ge=0.2, le=86400)
    timeout_seconds: float = Field(30.0, ge=0.1, le=3600, description="to read one file")
    memory_mib: int = Field(1024, ge=64, description="to read one file")
    cluster: str | None = Field(None, description="instead of SPINNER_CLUSTER")
    tier: int | None = Field(None, ge=1, le=3)
    access_control: dict[str, list[str]] = Field(default_factory=dict)
    owner: str = ""
    project: str = ""
    start_date: datetime | None = Field(None, description="pinball: the first time at which runs may start")
    resources: dict[str, Any] = Field(
        default_factory=dict,
        description='pinball: what its jobs ask for, as executor_config["KubernetesExecutor"], such as a legacy_image',
    )
    paused: bool = Field(False, description="pinball: new DAGs are paused")

    @model_validator(mode="after")
    def _complete(self) -> Bundle:
        needed = _NEEDS[self.kind]
        if getattr(self, needed) is None:
            raise ValueError(f"a bundle of kind {self.kind} needs {needed}")
        if found := list(problems(self.resources)):
            raise ValueError(f"resources of bundle {self.name}: {'; '.join(found)}")
        if self.kind == "pinball" and (self.tier is None or not self.access_control):
            raise ValueError("a bundle of kind pinball needs tier and access_control")
        return self

    @property
    def interval(self) -> float:
        """Seconds between two looks."""
        return self.interval_seconds if self.interval_seconds is not None else _DEFAULT_INTERVALS[self.kind]

    @property
    def defaults(self) -> dict[str, Any]:
        given: dict[str, Any] = {"owner": self.owner, "project": self.project}
        if self.tier is not None:
            given["tier"] = self.tier
        if self.access_control:
            given["access_control"] = self.access_control
        return given


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """An entry that can't be used. `name` is its name, or its position when it has none."""

    name: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class BundlesConfig:
    bundles: tuple[Bundle, ...] = ()
    problems: tuple[ConfigProblem, ...] = ()
    # False when the file could not be read as a whole: then nothing is known of bundles that are not in it.
    complete: bool = True
    names: frozenset[str] = field(default_factory=frozenset)


def read_config(text: str, base: Path) -> BundlesConfig:
    """Reads the file's text; relative paths are below `base`. Never raises: what is wrong is in `problems`."""
    shape = "Write `bundles:` and below it one `- {name: …, kind: …, path: …}` a bundle."
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = ConfigProblem("", f"The file is not YAML: {error}", "Correct the syntax at that line.")
        return BundlesConfig(problems=(problem,), complete=False)
    entries = content.get("bundles") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        problem = ConfigProblem("", "The file has no list of bundles", shape)
        return BundlesConfig(problems=(problem,), complete=False)
    bundles: dict[str, Bundle] = {}
    problems, names = [], set()
    for position, entry in enumerate(entries, start=1):
        name = str(entry.get("name") or f"#{position}") if isinstance(entry, dict) else f"#{position}"
        names.add(name)
        try:
            bundle = Bundle.model_validate(entry)
        except ValidationError as error:
            problems.append(ConfigProblem(name, _readable(error), shape))
            continue
        if name in bundles:
            problems.append(ConfigProblem(name, f"Two bundles have the name {name}", "Rename one of them."))
            continue
        if bundle.path is not None:
            bundle = bundle.model_copy(update={"path": (base / bundle.path.expanduser()).resolve()})
        if bundle.url is not None and re.match(r"^[./~]", bundle.url):
            bundle = bundle.model_copy(update={"url": str((base / Path(bundle.url).expanduser()).resolve())})
        bundles[name] = bundle
    return BundlesConfig(tuple(bundles.values()), tuple(problems), names=frozenset(names))


def _readable(error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        where = ".".join(map(str, item["loc"]))
        parts.append(f"{where}: {item['msg']}" if where else item["msg"].removeprefix("Value error, "))
    return "; ".join(parts)
