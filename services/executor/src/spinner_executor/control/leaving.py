"""Tries that are over, until nothing of them is left here: logs reach the store, readers read to the end."""

from __future__ import annotations

from collections.abc import Callable

from spinner_executor.control.context import Context
from spinner_executor.control.tries import Try
from spinner_executor.control.uploads import Uploads
from spinner_executor.domain import keys

_LOOK_SECONDS = 1.0
_READERS_SECONDS = 60.0


class Leaving:
    """`is_ordered(key)`: there is a new order for a try, which has its folder then. Runs on the event loop."""

    def __init__(self, context: Context, uploads: Uploads, is_ordered: Callable[[str], bool]) -> None:
        self._context = context
        self._uploads = uploads
        self._is_ordered = is_ordered
        self._uploading: dict[str, Try] = {}

    def get(self, key: str) -> Try | None:
        """A try whose log is on its way to the store."""
        return self._uploading.get(key)

    def leave(self, tried: Try, waited: float = 0.0) -> None:
        """Removes what is left of a try whose worker is gone, as soon as that may be."""
        self._uploading.pop(tried.key, None)
        if self._is_ordered(tried.key):
            return
        if self._uploads.when_done(tried, lambda: self.leave(tried)):
            self._uploading[tried.key] = tried
        elif tried.readers and waited < _READERS_SECONDS:
            self._context.loop.call_later(_LOOK_SECONDS, self.leave, tried, waited + _LOOK_SECONDS)
        elif 0 <= tried.uploaded_bytes < tried.log.length():
            self._context.spawn(self._upload_again(tried))
        else:
            self._context.backend.remove(tried.key)

    async def _upload_again(self, tried: Try) -> None:
        """The worker wrote after its end was reported (exit handlers): the final log gets that, too."""
        key = keys.log_object_key(tried.order.try_key)
        context = self._context
        await context.loop.run_in_executor(context.pool, tried.log.upload, context.objects, key)
        if not self._is_ordered(tried.key):
            context.backend.remove(tried.key)
