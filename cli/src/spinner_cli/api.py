"""The gateway's REST API as the commands use it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx

from spinner_cli.errors import CliError

PAGE = 500
Json = dict[str, Any]


def base_url() -> str:
    """SPINNER_URL, else the address of the local stack around the working folder."""
    if stated := os.environ.get("SPINNER_URL"):
        return stated.rstrip("/")
    from spinner_local.home import PORTS, Home

    port = Home.default().load().ports.get("webgateway", PORTS["webgateway"])
    return f"http://127.0.0.1:{port}"


def path(*parts: str | int) -> str:
    """Joins path segments, each quoted: run ids contain `+` and `:`."""
    return "/" + "/".join(quote(str(part), safe="") for part in parts)


class Api:
    """A client. Methods block; they raise CliError for every answer that isn't a success, and when nobody answers."""

    def __init__(self, url: str | None = None, timeout_seconds: float = 30.0) -> None:
        self.url = url or base_url()
        self._client = httpx.Client(base_url=f"{self.url}/api/v1", timeout=timeout_seconds)

    def get(self, where: str, **query: Any) -> Any:
        return self._send("GET", where, params=_without_none(query))

    def post(self, where: str, body: Json | None = None) -> Any:
        return self._send("POST", where, json=body or {})

    def patch(self, where: str, body: Json) -> Any:
        return self._send("PATCH", where, json=body)

    def put(self, where: str, body: Json) -> Any:
        return self._send("PUT", where, json=body)

    def delete(self, where: str) -> None:
        self._send("DELETE", where)

    def items(self, where: str, limit: int | None = None, **query: Any) -> Iterator[Json]:
        """The items of a paged list, page by page, at most `limit`."""
        cursor, left = None, limit
        while left is None or left > 0:
            page = self.get(where, limit=PAGE if left is None else min(PAGE, left), cursor=cursor, **query)
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def text(self, where: str) -> Iterator[str]:
        """A text answer, in pieces as it arrives."""
        with self._stream(where, "text/plain", 60.0) as answer:
            yield from answer.iter_text()

    def events(self, where: str, read_seconds: float = 60.0, **query: Any) -> Iterator[tuple[str, Json]]:
        """Server-sent events as (name, data); ends when the server ends the stream."""
        name, data = "message", ""
        with self._stream(where, "text/event-stream", read_seconds, **query) as answer:
            for line in answer.iter_lines():
                field, _, value = line.partition(":")
                if field == "event":
                    name = value.strip()
                elif field == "data":
                    data += value.removeprefix(" ")
                elif not line and data:
                    yield name, json.loads(data)
                    name, data = "message", ""

    def _stream(self, where: str, accept: str, read_seconds: float, **query: Any) -> _Streaming:
        return _Streaming(self, where, accept, read_seconds, _without_none(query))

    def _send(self, method: str, where: str, **arguments: Any) -> Any:
        try:
            answer = self._client.request(method, where, **arguments)
        except httpx.HTTPError as error:
            raise self.unreachable(error) from error
        if answer.is_error:
            raise problem(answer)
        return answer.json() if answer.content else None

    def unreachable(self, error: httpx.HTTPError) -> CliError:
        """What to say when there is no answer."""
        if isinstance(error, httpx.ConnectError):
            return CliError(
                f"Nothing answers at {self.url}.",
                "Is Spinner running? Start it with `make up` (or `spinner up`), or set SPINNER_URL.",
            )
        if isinstance(error, httpx.TimeoutException):
            return CliError(
                f"{self.url} didn't answer in time.", "See `spinner status` and .spinner/logs/webgateway.log."
            )
        return CliError(f"The connection to {self.url} broke: {error}", "See `spinner status`, then try again.")


class _Streaming:
    """A streamed answer as a context manager whose failures are CliErrors."""

    def __init__(self, api: Api, where: str, accept: str, read_seconds: float, query: Json) -> None:
        self._api = api
        timeout = httpx.Timeout(10.0, read=read_seconds)
        self._context = api._client.stream("GET", where, params=query, headers={"Accept": accept}, timeout=timeout)

    def __enter__(self) -> httpx.Response:
        try:
            answer = self._context.__enter__()
            if answer.is_error:
                answer.read()
                raise problem(answer)
        except httpx.HTTPError as error:
            raise self._api.unreachable(error) from error
        return answer

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._context.__exit__(kind, error, trace)
        if isinstance(error, httpx.HTTPError) and not isinstance(error, httpx.TimeoutException):
            raise self._api.unreachable(error) from error


def problem(answer: httpx.Response) -> CliError:
    """The error of an answer: its Problem, or what can be said without one."""
    try:
        body = answer.json()
        return CliError(str(body["message"]), str(body.get("fix") or ""))
    except (ValueError, KeyError, TypeError):
        text = answer.text.strip()[:300] or answer.reason_phrase
        return CliError(
            f"{answer.request.url} answered {answer.status_code}: {text}", "See .spinner/logs/webgateway.log."
        )


def _without_none(query: Json) -> Json:
    return {name: value for name, value in query.items() if value is not None}
