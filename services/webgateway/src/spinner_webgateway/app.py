"""The composition root: opens the log, the database and the store, and joins the parts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from time import monotonic
from typing import TYPE_CHECKING

import sqlalchemy as sa
from spinner_eventlog.interface import EventLog, Producer, Transient
from spinner_eventlog.topics import cell
from spinner_objectstore import ObjectStore

from spinner_webgateway.adapters import database
from spinner_webgateway.adapters.actions import Actions
from spinner_webgateway.adapters.asset_actions import AssetActions
from spinner_webgateway.adapters.audit import AuditTrail
from spinner_webgateway.adapters.backfill_actions import BackfillActions
from spinner_webgateway.adapters.commands import Commands
from spinner_webgateway.adapters.executors import Executors
from spinner_webgateway.adapters.explanations import Explanations
from spinner_webgateway.adapters.files import Files
from spinner_webgateway.adapters.hub import ChangeHub
from spinner_webgateway.adapters.logs import Logs
from spinner_webgateway.adapters.owners import Owners
from spinner_webgateway.adapters.projector import Projector, topics_of
from spinner_webgateway.adapters.search import DatabaseSearch, Search
from spinner_webgateway.adapters.settings_records import PoolAddresses, SettingsRecords
from spinner_webgateway.adapters.simulations import Simulations
from spinner_webgateway.adapters.views.definitions import Definitions
from spinner_webgateway.api.access import Access
from spinner_webgateway.api.context import Gateway
from spinner_webgateway.settings import Settings

if TYPE_CHECKING:
    from spinner_webgateway.adapters.elastic import ElasticIndexer

LAG_CACHE_SECONDS = 1.0


@dataclass(slots=True)
class Parts:
    """A running gateway's parts, in the order in which they are closed."""

    gateway: Gateway
    projector: Projector
    executors: Executors
    owners: Owners
    commands: Commands
    audit_producer: Producer
    engine: sa.Engine
    indexer: ElasticIndexer | None = None

    def start_following(self, on_death: Callable[[BaseException], None]) -> list[threading.Thread]:
        """Runs projection and indexing on threads of their own; a bug in one ends the process by `on_death`."""

        def guarded(work: Callable[[], None]) -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - whatever it is, nobody else would see it
                on_death(error)

        work = [self.projector.run, *([self.indexer.run] if self.indexer else [])]
        threads = [threading.Thread(target=guarded, args=[part], name="follower", daemon=True) for part in work]
        for thread in threads:
            thread.start()
        return threads

    async def close(self) -> None:
        self.projector.stop()
        if self.indexer is not None:
            self.indexer.stop()
        await self.executors.close()
        await self.owners.close()
        self.commands.close()
        self.audit_producer.close()


def topics_for(settings: Settings) -> list[str]:
    """Returns the topics that feed the views."""
    return topics_of(cell(settings.cluster, tier) for tier in settings.tiers)


def open_views(settings: Settings) -> sa.Engine:
    """Returns the database with its tables in this version's form."""
    engine = database.open_database(settings.database)
    database.migrate(engine)
    return engine


def build(settings: Settings, log: EventLog, store: ObjectStore) -> Parts:
    """Returns the parts, connected but not yet running."""
    engine = open_views(settings)
    indexer, search = _search(settings, log, engine)
    hub = ChangeHub()
    definitions = Definitions(engine)
    projector = Projector(log, engine, topics_for(settings), hub)
    files = Files(store)
    commands = Commands(log, engine, hub, settings.answer_seconds)
    audit_producer = log.producer("webgateway-audit")
    executors = Executors()
    owners = Owners(engine)
    actions = Actions(engine, definitions, commands, files, owners)
    addresses = PoolAddresses(settings.cluster, settings.tiers, log.partition_count)
    gateway = Gateway(
        engine=engine,
        definitions=definitions,
        hub=hub,
        access=Access(settings.development_user, AuditTrail(audit_producer)),
        actions=actions,
        assets=AssetActions(commands, addresses),
        backfills=BackfillActions(engine, commands, files, actions.check_params, settings.backfill_max_days),
        files=files,
        logs=Logs(files, executors, getattr(search, "log_of", None)),
        explanations=Explanations(engine, owners),
        simulations=Simulations(engine),
        settings_records=SettingsRecords(
            commands,
            settings.secret_key.get_secret_value(),
            addresses,
        ),
        search=search,
        lag=_cached(projector.lag),
        version=version("spinner-webgateway"),
        environment=settings.environment,
        cluster=settings.cluster,
    )
    return Parts(gateway, projector, executors, owners, commands, audit_producer, engine, indexer)


def _search(settings: Settings, log: EventLog, engine: sa.Engine) -> tuple[ElasticIndexer | None, Search]:
    if not settings.elasticsearch:
        return None, DatabaseSearch(engine)
    from spinner_webgateway.adapters import elastic  # a large library: only where it is used

    client = elastic.connect(settings.elasticsearch)
    cells = [cell(settings.cluster, tier) for tier in settings.tiers]
    prefix = settings.elasticsearch_prefix
    topics = elastic.index_topics(cells, settings.cluster)
    indexer = elastic.ElasticIndexer(client, prefix, settings.log_index_days, log, engine, topics)
    return indexer, elastic.ElasticSearch(client, prefix)


def _cached(read: Callable[[], int]) -> Callable[[], int]:
    """Asking the broker for every partition's end costs a few milliseconds, and pages ask often."""
    lock = threading.Lock()
    last: list[float] = [-LAG_CACHE_SECONDS, 0]

    def cached() -> int:
        with lock:
            if monotonic() - last[0] > LAG_CACHE_SECONDS:
                with contextlib.suppress(Transient):
                    last[1] = read()
                last[0] = monotonic()
            return int(last[1])

    return cached
