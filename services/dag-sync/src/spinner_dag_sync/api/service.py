"""DagSyncService: what is known of the bundles, and "now, please"."""

from __future__ import annotations

from typing import Any

from spinner_proto.dagsync.v1 import dagsync_pb2 as pb
from spinner_servicekit.errors import Rejected

from spinner_dag_sync.bundle_sync import BundleSync
from spinner_dag_sync.supervisor import Supervisor


class DagSyncService:
    """Raises Rejected; the server turns it into a status."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def ListBundles(self, request: pb.ListBundlesRequest, context: Any) -> pb.ListBundlesResponse:  # noqa: N802
        return pb.ListBundlesResponse(bundles=[status_of(sync) for sync in self._supervisor.syncs()])

    def SyncBundle(self, request: pb.SyncBundleRequest, context: Any) -> pb.SyncBundleResponse:  # noqa: N802
        sync = self._supervisor.sync_of(request.name)
        if sync is None:
            known = ", ".join(item.bundle.name for item in self._supervisor.syncs()) or "none"
            raise Rejected("NOT_FOUND", f"There is no bundle {request.name!r}", f"Bundles are: {known}.")
        sync.lap(force=True)
        return pb.SyncBundleResponse(bundle=status_of(sync))


def status_of(sync: BundleSync) -> pb.BundleStatus:
    """Returns a bundle's state as the API shows it."""
    status = sync.status
    answer = pb.BundleStatus(
        name=sync.bundle.name,
        kind=sync.bundle.kind,
        version=status.version,
        files=status.files,
        dags=status.dags,
        errors=status.errors,
        last_error=status.last_error,
    )
    if status.synced_time is not None:
        answer.synced_time.FromDatetime(status.synced_time)
    return answer
