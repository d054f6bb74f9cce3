"""What the controller does about logs: secrets that an earlier owner knew, and the look at those of live tries."""

from __future__ import annotations

import asyncio
import logging

from spinner_proto.orders.v1.orders_pb2 import TaskGrant

from spinner_executor.control.context import Context
from spinner_executor.control.tries import Try

_log = logging.getLogger(__name__)


def restore_secrets(context: Context, tried: Try, grant: TaskGrant | None) -> None:
    """What an earlier owner masked: from its disk, or from the grant when that was another machine's."""
    try:
        known = tried.journal.secrets()
        if not known and grant is not None and grant.sealed_secrets:
            known = context.unseal(grant.sealed_secrets)
            tried.journal.store_secrets(known)
        tried.masker.add(known)
    except ValueError as error:
        _log.error("the log of %s is masked as a whole: %s", tried.key, error)
        tried.masker.mask_everything()


def look(context: Context, tried: Try) -> None:
    """Publishes what is new, and bounds the log of a worker that is too busy to do it."""
    if not tried.logging:
        return
    tried.log.publish(context.reporter.post)
    tried.logging = context.backend.shares_files
    if context.backend.shares_files and not tried.trimming and tried.log.overgrown():
        tried.trimming = True
        context.spawn(_trim(context, tried))


async def _trim(context: Context, tried: Try) -> None:
    try:
        await asyncio.get_running_loop().run_in_executor(context.pool, tried.log.trim)
    finally:
        tried.trimming = False
