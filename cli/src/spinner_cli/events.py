"""`spinner events tail`: records straight from Kafka, decoded by their `ce_type`; `spinner events verify`."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spinner_cli.errors import CliError
from spinner_cli.options import JsonOption

if TYPE_CHECKING:
    from spinner_eventlog.interface import Record

app = typer.Typer(help="Records of the event log, straight from Kafka.", no_args_is_help=True)


@app.command()
def tail(
    topic: Annotated[
        list[str] | None,
        typer.Option(help="Topic, or its base name for all its cells; default: workflow_events. May be repeated."),
    ] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="Everything that is there first.")] = False,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on with what comes.")] = True,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Stop after this many.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print records as they are written (one JSON object a line with --json)."""
    from spinner_eventlog.interface import Transient, UnknownTopic
    from spinner_eventlog.kafka import KafkaLog
    from spinner_eventlog.topics import registry

    try:
        log = KafkaLog(bootstrap(), "cli", timeout_seconds=5.0)
        names = actual_topics(topic)
        partitions = [(name, number) for name in names for number in range(log.partition_count(name))]
        reader = log.reader(partitions, "earliest" if from_start or not follow else "latest")
    except UnknownTopic as error:
        raise CliError(f"There is no such topic: {error}", f"Choose one of {', '.join(registry())}.") from error
    except Transient as error:
        raise CliError(f"Kafka doesn't answer at {bootstrap()}: {error}", "Start Spinner with `make up`.") from error
    try:
        _print_all(_records(reader, follow, limit), as_json)
    finally:
        log.close()


def bootstrap() -> str:
    """SPINNER_KAFKA, else the local stack's broker."""
    if stated := os.environ.get("SPINNER_KAFKA"):
        return stated
    from spinner_local.home import PORTS, Home

    return f"127.0.0.1:{Home.default().load().ports.get('kafka', PORTS['kafka'])}"


@app.command()
def verify(
    kafka: Annotated[str, typer.Option(help="Bootstrap servers; default: SPINNER_KAFKA, else the local stack.")] = "",
    cluster: Annotated[str, typer.Option(help="Cluster name; default: the local stack's.")] = "",
    tiers: Annotated[str, typer.Option(help="Tiers, separated by commas; default: the local stack's.")] = "",
    prefix: Annotated[str, typer.Option(help="What the installation puts before its topic names.")] = "",
    ended: Annotated[bool, typer.Option("--ended", help="Also expect that every run has ended.")] = False,
    most: Annotated[int, typer.Option(min=1, help="Show at most this many violations of each invariant.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Check the whole log against Spinner's promises, from Kafka alone. Exits with 1 when one is broken."""
    from dataclasses import asdict

    from spinner_eventlog.interface import Transient
    from spinner_eventlog.kafka import KafkaLog
    from spinner_local.services import CLUSTER, TIERS

    from spinner_cli.output import print_json, print_table
    from spinner_cli.verification.findings import INVARIANTS
    from spinner_cli.verification.reading import verify as read

    address = kafka or bootstrap()
    log = KafkaLog(address, "cli-verify", prefix, timeout_seconds=10.0)
    started = time.monotonic()
    try:
        chosen = [int(tier) for tier in tiers.split(",")] if tiers else list(TIERS)
        found = read(log, log.committed_offset, cluster or CLUSTER, chosen, ended, most)
    except Transient as error:
        raise CliError(f"Kafka doesn't answer at {address}: {error}", "Start Spinner with `make up`.") from error
    except ValueError as error:
        raise CliError(f"{tiers!r} are not tiers: {error}", "Write numbers separated by commas, `1,2,3`.") from error
    finally:
        log.close()
    seconds = round(time.monotonic() - started, 3)
    if as_json:
        print_json(asdict(found) | {"ok": not found.broken, "seconds": seconds})
    else:
        print_table(
            ["invariant", "checked", "violations", "meaning"],
            [[name, found.checked[name], found.broken[name], INVARIANTS[name]] for name in INVARIANTS],
            "",
        )
        for violation in found.violations:
            where = f"{violation.topic}[{violation.partition}]@{violation.offset}" if violation.topic else ""
            print(f"{violation.invariant}: {violation.key}: {violation.text} {where}".rstrip())
        total = sum(found.broken.values())
        print(
            f"{sum(found.records.values()):,} records, {found.runs:,} runs ({found.live_runs:,} not ended), "
            f"{found.tries:,} tries, {found.waiting_commands:,} commands waiting: {total:,} violations in {seconds} s"
        )
    if found.broken:
        raise typer.Exit(1)


def actual_topics(wanted: list[str] | None) -> list[str]:
    """Topic names for the given names or base names."""
    from spinner_eventlog.topics import registry
    from spinner_local.services import CLUSTER, TIERS

    names: list[str] = []
    for name in wanted or ["workflow_events"]:
        known = registry().get(name)
        names += known.names([CLUSTER], TIERS) if known else [name]
    return names


def decoded(record: Record) -> dict[str, Any]:
    """A record as JSON: its place, key, headers, and its message by `ce_type`, or the bytes in base64."""
    shown: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time_ms": record.time_ms,
        "key": record.key,
        "type": record.headers.get("ce_type", ""),
        "headers": dict(record.headers),
        "tombstone": record.value is None,
    }
    if record.value is not None:
        message = _message(shown["type"], record.value)
        shown |= {"value": message} if message is not None else {"bytes": base64.b64encode(record.value).decode()}
    return shown


def _message(type_name: str, value: bytes) -> dict[str, Any] | None:
    """The message as a dict with proto field names; None when the type is unknown or the bytes aren't one."""
    import importlib

    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    parts = type_name.split(".")
    if len(parts) != 4 or parts[0] != "spinner":
        return None
    _, area, version, name = parts
    try:
        module = importlib.import_module(f"spinner_proto.{area}.{version}.{area}_pb2")
        message = getattr(module, name)()
        message.ParseFromString(value)
    except (ImportError, AttributeError, DecodeError):
        return None
    return dict(json_format.MessageToDict(message, preserving_proto_field_name=True))


def _records(reader: Any, follow: bool, limit: int | None) -> Iterable[Record]:
    left = limit
    while left is None or left > 0:
        records = reader.poll(500, 0.2)
        yield from records[:left]
        left = None if left is None else left - len(records)
        if not follow and not records and reader.at_end():
            return


def _print_all(records: Iterable[Record], as_json: bool) -> None:
    from spinner_cli.output import print_json_line

    for record in records:
        shown = decoded(record)
        if as_json:
            print_json_line(shown)
            continue
        clock = time.strftime("%H:%M:%S", time.localtime(record.time_ms / 1000))
        what = shown["type"].rpartition(".")[2] or ("tombstone" if shown["tombstone"] else "unknown")
        body = " ".join(f"{name}={value}" for name, value in (shown.get("value") or {}).items())
        print(
            f"{clock} {record.topic}[{record.partition}]@{record.offset} {record.key} {what} {body[:300]}", flush=True
        )
