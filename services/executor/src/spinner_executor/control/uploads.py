"""Logs on their way to the object store, before an end is reported or after it.

A short log of a try that ended well, whose files this executor's successor sees too, may follow its report: nobody
waits for the store then. Until the log is there the try's folder stays, with no mark in it, so whoever owns the
partition next uploads it. An end that somebody will want to understand waits for its log, and so do all when the store
is away, so that the report says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from spinner_proto.common.v1.common_pb2 import Outcome, Stage, StageOutcome, StageResult
from spinner_proto.inbox.v1.inbox_pb2 import TaskEnded

from spinner_executor.adapters.logs import CHUNK
from spinner_executor.control.context import Context
from spinner_executor.control.tries import Try
from spinner_executor.domain import keys, stages

_log = logging.getLogger(__name__)
_QUICK = (Outcome.OUTCOME_SUCCESS, Outcome.OUTCOME_SKIPPED)
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_ATTEMPTS = 40
LATER = "It follows this report."


class Uploads:
    """Runs on the event loop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store_works = True
        self._open: set[asyncio.Future[None]] = set()

    def may_follow(self, tried: Try, ended: TaskEnded) -> bool:
        """Whether the end may be reported before its log is in the store."""
        if ended.outcome not in _QUICK or not self._store_works or not self._context.backend.shares_files:
            return False
        return 0 < tried.log.size() <= CHUNK

    def promise(self, tried: Try) -> StageResult:
        """The stage of an upload that follows; the try's files stay until `start` has done it."""
        tried.uploading = self._context.loop.create_future()
        self._open.add(tried.uploading)
        tried.uploading.add_done_callback(self._open.discard)
        now = datetime.now(UTC)
        return stages.stage_result(Stage.STAGE_LOG_UPLOAD, now, now, message=LATER)

    def start(self, tried: Try) -> None:
        """Uploads a log that was promised, again and again."""
        self._context.spawn(self._until_there(tried))

    async def now(self, tried: Try) -> StageResult:
        """Uploads once; a store that is away must not hide the try's end."""
        begun = datetime.now(UTC)
        if not tried.log.path.exists():
            return stages.stage_result(Stage.STAGE_LOG_UPLOAD, begun, begun, message="There is no log.")
        outcome, message = StageOutcome.STAGE_OUTCOME_SUCCESS, ""
        try:
            await self._upload(tried)
        except Exception as error:  # noqa: BLE001 - see above
            _log.warning("the log of %s could not be uploaded: %s", tried.key, error)
            outcome, message = StageOutcome.STAGE_OUTCOME_FAILED, f"The log could not be uploaded: {error}"
        return stages.stage_result(Stage.STAGE_LOG_UPLOAD, begun, datetime.now(UTC), outcome, message)

    async def _until_there(self, tried: Try) -> None:
        pause = _FIRST_PAUSE_SECONDS
        for attempt in range(_ATTEMPTS):
            try:
                await self._upload(tried)
                break
            except Exception as error:  # noqa: BLE001 - tried again
                _log.warning("the log of %s is not uploaded yet: %s", tried.key, error)
                if attempt == _ATTEMPTS - 1:
                    _log.error("the log of %s is lost: the object store is away for too long", tried.key)
                    break
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        if tried.uploading is not None and not tried.uploading.done():
            tried.uploading.set_result(None)

    async def _upload(self, tried: Try) -> None:
        context = self._context
        try:
            tried.uploaded_bytes = await context.loop.run_in_executor(
                context.pool,
                self._finish,
                tried,
            )
        except Exception:
            self._store_works = False
            raise
        self._store_works = True

    def _finish(self, tried: Try) -> int:
        key = keys.log_object_key(tried.order.try_key)
        written = tried.log.finish(self._context.reporter.post, self._context.objects, key)
        if tried.uploading is not None:
            tried.journal.mark_saved(tried.situation.worker_segment)
        return written

    def when_done(self, tried: Try, then: Callable[[], None]) -> bool:
        """Calls `then` when the try's log is in the store; False when nothing is on its way."""
        if tried.uploading is None or tried.uploading.done():
            return False
        tried.uploading.add_done_callback(lambda _: then())
        return True

    async def drain(self, seconds: float) -> None:
        """Waits until all that was promised is done, for `seconds` at most."""
        if self._open:
            await asyncio.wait(list(self._open), timeout=seconds)
