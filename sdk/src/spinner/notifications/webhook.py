"""HTTP: a JSON document to any address."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from spinner.exceptions import SpinnerException
from spinner.notifications.base import BaseNotifier, connection, facts_of

_ANSWER_BYTES = 500


def post_json(url: str, document: Any, headers: Mapping[str, str], timeout: float) -> None:
    """Posts; blocks. Raises SpinnerException with the answer when it is no success; never shows the address's path."""
    if not url.startswith(("https://", "http://")):
        raise SpinnerException("The webhook's address does not begin with https:// or http://.")
    where = "/".join(url.split("/")[:3])
    body = json.dumps(document, default=str).encode()
    request = urllib.request.Request(  # noqa: S310 - http and https only
        url, body, {"Content-Type": "application/json", "User-Agent": "spinner", **headers}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            answer.read(_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        text = error.read(_ANSWER_BYTES).decode("utf-8", "replace").strip()
        raise SpinnerException(f"{where} answered {error.code} {error.reason}: {text}") from None
    except OSError as error:
        raise SpinnerException(f"{where} can't be reached: {getattr(error, 'reason', error)}") from None


class WebhookNotifier(BaseNotifier):
    """Posts ``payload`` (by default what ended, how and why) to ``url`` or the address of a connection.

    Connection: ``host`` is the address; ``password``, if any, is sent as a bearer token; extra ``headers``.
    """

    template_fields: ClassVar[Sequence[str]] = ("url", "payload", "headers")

    def __init__(
        self,
        url: str = "",
        payload: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        http_conn_id: str = "",
        timeout: float = 30.0,
    ) -> None:
        if bool(url) == bool(http_conn_id):
            raise SpinnerException("A WebhookNotifier needs url= or http_conn_id=, one of them.")
        self.url, self.payload, self.headers = url, payload, dict(headers or {})
        self.http_conn_id, self.timeout = http_conn_id, timeout

    def notify(self, context: dict[str, Any]) -> None:
        url, headers = self.url, dict(self.headers)
        if self.http_conn_id:
            found = connection(self.http_conn_id, "a webhook")
            url = address(found)
            headers = {**found.extra_dejson.get("headers", {}), **headers}
            if found.password:
                headers.setdefault("Authorization", f"Bearer {found.password}")
        post_json(url, facts_of(context) if self.payload is None else self.payload, headers, self.timeout)


def address(found: Any) -> str:
    """The URL of a connection: its host when that is one, else its parts."""
    if "://" in (found.host or ""):
        return str(found.host)
    scheme = found.conn_type if found.conn_type in ("http", "https") else "https"
    port = f":{found.port}" if found.port else ""
    return f"{scheme}://{found.host or ''}{port}/{found.schema or ''}"
