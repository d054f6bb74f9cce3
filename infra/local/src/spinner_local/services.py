"""Which services the stack runs, and the environment each is started with."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from pathlib import Path

from spinner_local.home import Home, State, repository

CLUSTER = "spinner"
TIERS = (1, 2, 3)


@dataclass(frozen=True)
class Service:
    """A supervised program. `module` runs as `python -m module`; `port` is a key of `State.ports`."""

    name: str
    module: str
    port: str


SERVICES = (
    Service("scheduler", "spinner_scheduler", "scheduler"),
    Service("executor", "spinner_executor", "executor"),
    Service("webgateway", "spinner_webgateway", "webgateway"),
    Service("dag-sync", "spinner_dag_sync", "dag-sync"),
    Service("token-fetcher", "spinner_token_fetcher", "token-fetcher"),
    Service("rca", "spinner_rca", "rca"),
)
NAMES = ("kafka", *(service.name for service in SERVICES))


def address(state: State, service: str) -> str:
    """host:port of a service's main address."""
    return f"127.0.0.1:{state.ports[service]}"


def environment(home: Home, state: State, service: Service) -> dict[str, str]:
    """The settings of one service. The user's own SPINNER_ variables win, except those that hold the stack together."""
    grpc = "webgateway-grpc" if service.name == "webgateway" else service.port
    defaults = {
        "SPINNER_CLUSTER": CLUSTER,
        "SPINNER_TIERS": ",".join(map(str, TIERS)),
        "SPINNER_OBJECT_STORE": f"file://{home.objects}",
        "SPINNER_BUNDLES": str(bundles_file(home)),
        "SPINNER_DATABASE": f"sqlite:///{home.root / 'views.sqlite'}",
        "SPINNER_ENVIRONMENT": "local",
        "SPINNER_LOG_FORMAT": "console",
        "SPINNER_DEVELOPMENT_USER": getpass.getuser(),
        # Only the search index reads that topic.
        "SPINNER_LOG_TOPIC": "1" if os.environ.get("SPINNER_ELASTICSEARCH") else "0",
    }
    fixed = {
        "SPINNER_HOME": str(home.root),
        "SPINNER_STACK": state.marker,
        "SPINNER_KAFKA": address(state, "kafka"),
        "SPINNER_GRPC_ADDRESS": address(state, grpc),
        "SPINNER_HTTP_ADDRESS": address(state, "webgateway"),
        "SPINNER_SCHEDULER": address(state, "scheduler"),
        "SPINNER_EXECUTOR": address(state, "executor"),
        "SPINNER_DAG_SYNC": address(state, "dag-sync"),
        "SPINNER_TOKEN_FETCHER": address(state, "token-fetcher"),
        "SPINNER_RCA": address(state, "rca"),
        "SPINNER_STATUS_FILE": str(home.status_file(service.name)),
        "SPINNER_STATE_FOLDER": str(home.root / service.name),
        "SPINNER_EXECUTOR_DATA": str(home.root / "executor"),
        "SPINNER_SECRET_KEY": home.secret_key(),
        "PYTHONUNBUFFERED": "1",
    }
    if (root := repository()) is not None:
        defaults["SPINNER_UI_DIST"] = str(root / "services" / "webgateway" / "ui" / "dist")
        defaults["SPINNER_PINBALL_REPOSITORIES"] = f"examples={root / 'examples' / 'pinball'}"
    return {**defaults, **_user_settings(), **fixed}


def bundles_file(home: Home) -> Path:
    """The bundles that dag-sync reads: SPINNER_BUNDLES, else `bundles.yaml` in the home, made for the examples."""
    if stated := os.environ.get("SPINNER_BUNDLES"):
        return Path(stated).absolute()
    return home.root / "bundles.yaml"


def write_bundles(home: Home) -> None:
    """Writes the default bundles unless the user has a file of their own there."""
    path = home.root / "bundles.yaml"
    if path.exists():
        return
    root = repository()
    if root is not None:
        text = _EXAMPLE_BUNDLES.format(examples=root / "examples")
    else:
        (home.root / "dags").mkdir(exist_ok=True)
        text = _OWN_BUNDLES.format(folder=home.root / "dags")
    path.write_text(text)


def _user_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("SPINNER_")}


_EXAMPLE_BUNDLES = """\
# Where the DAGs of this stack come from. Edit freely: dag-sync reads it again when it changes.
bundles:
  - {{name: examples, kind: folder, path: "{examples}"}}
  - name: pinball
    kind: pinball
    repository: examples
    path: "{examples}/pinball"
    tier: 3
    access_control: {{data_engineering: [can_dag_read, can_dag_edit]}}
"""
_OWN_BUNDLES = """\
# Where the DAGs of this stack come from. Edit freely: dag-sync reads it again when it changes.
bundles:
  - {{name: main, kind: folder, path: "{folder}"}}
"""
