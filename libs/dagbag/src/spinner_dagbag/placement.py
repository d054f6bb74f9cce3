"""A9: where a DAG's runs are scheduled.

The folder decides: `dags/{cluster}_tier_{tier}_{partition}/team/file.py`. A DAG outside that layout keeps the
placement that it already has, while its tier is the same; a new one is placed by its tier and Kafka's hash of
its id, so that any client finds the same partition.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from spinner_eventlog.interface import partition_for
from spinner_proto.common.v1 import common_pb2

_FOLDER = re.compile(r"(?:^|/)dags/((?P<cluster>[a-z][a-z0-9-]*)_tier_(?P<tier>[1-3])(?:_(?P<partition>\d{1,4}))?)/")


@dataclass(frozen=True, slots=True)
class FolderPlacement:
    """What a folder's name says. `partition` None: the folder only names the cell."""

    folder: str
    cluster: str
    tier: int
    partition: int | None


class PlacementError(Exception):
    """A DAG can't be scheduled where its folder says. Carries the fix."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(f"{message}. {fix}")
        self.message, self.fix = message, fix


def folder_placement(relative_path: str) -> FolderPlacement | None:
    """Reads the placement from a path below the bundle's root, with `/`; None when its folders say nothing."""
    match = _FOLDER.search(relative_path)
    if match is None:
        return None
    partition = match["partition"]
    return FolderPlacement(match[1], match["cluster"], int(match["tier"]), int(partition) if partition else None)


def cell(placement: common_pb2.Placement) -> str:
    """Returns the cell's name, for example `spinner_tier_1`."""
    return f"{placement.cluster}_tier_{placement.tier}"


def place(
    dag_id: str,
    tier: int,
    relative_path: str,
    cluster: str,
    partitions_of: Callable[[str], int],
    stored: common_pb2.Placement | None = None,
) -> common_pb2.Placement:
    """Decides a DAG's placement.

    `partitions_of` gives the number of partitions of a cell, 0 for a cell that does not exist. `stored` is the
    placement that the DAG has now. Raises PlacementError.
    """
    folder = folder_placement(relative_path)
    if folder is not None:
        placement = common_pb2.Placement(cluster=folder.cluster, tier=folder.tier)
    else:
        placement = common_pb2.Placement(cluster=cluster, tier=tier)
    name = cell(placement)
    count = partitions_of(name)
    if count == 0:
        raise PlacementError(
            f"There is no cell {name}",
            f"Move the file to a folder of a cell that exists (cluster {cluster}), or create the cell's topics.",
        )
    if folder is not None and folder.partition is not None:
        if folder.partition >= count:
            raise PlacementError(
                f"Folder {folder.folder} names partition {folder.partition}, but {name} has {count}",
                f"Use a partition from 0 to {count - 1}.",
            )
        placement.partition = folder.partition
    elif stored is not None and cell(stored) == name:
        placement.partition = stored.partition
    else:
        placement.partition = partition_for(dag_id, count)
    return placement
