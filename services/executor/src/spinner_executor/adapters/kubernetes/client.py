"""Raw calls of the Kubernetes API: JSON in, JSON out, failures as one exception with what a caller decides by.

Configuration and credentials (kubeconfig, in-cluster, exec plugins, their renewal) are kubernetes_asyncio's; its typed
models and its way of sending are not used, since they cost more than the call itself. The gate bounds what is in flight
and slows down as the server asks: API priority and fairness answers 429 with Retry-After when its queues are full.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, Configuration
from yarl import URL

CALL_SECONDS = 30.0
_MIN_PAUSE, _MAX_PAUSE = 0.1, 15.0
_MIN_IN_FLIGHT = 2
_WHOLE = "application/json,*/*"
# The API server leaves specification and status out of its answer.
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


class ApiFailure(Exception):  # noqa: N818 - an answer
    """`status` 0: no answer came (so nobody knows whether the call was carried out); otherwise HTTP's.

    `retry_after`: seconds the server asks to wait, 0 when it doesn't say.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{reason}: {message}" if reason else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @property
    def passing(self) -> bool:
        """Worth another attempt: no answer, too many requests, or the server's own failure."""
        return self.status in (0, 408, 429) or self.status >= 500


class Backoff:
    """Pauses that double up to a limit, each between half and the whole of it, so that many callers spread out."""

    def __init__(self, first: float = _MIN_PAUSE, limit: float = _MAX_PAUSE) -> None:
        self._first, self._limit, self._next = first, limit, first

    def reset(self) -> None:
        self._next = self._first

    def pause(self, at_least: float = 0.0) -> float:
        """Seconds to wait now."""
        pause, self._next = self._next, min(2 * self._next, self._limit)
        return max(at_least, 0.0) + random.uniform(0.5, 1.0) * pause  # noqa: S311 - spreads load only


class Gate:
    """At most `limit` calls at once, in the order that they came; fewer after a 429, none before its Retry-After."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.allowed = float(limit)
        self._flying = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._not_before = 0.0

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        if self._waiting or self._flying >= int(self.allowed):
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # its turn had come
                    self._leave()
                raise
        else:
            self._flying += 1
        try:
            if (wait := self._not_before - loop.time()) > 0:
                await asyncio.sleep(wait * random.uniform(1.0, 1.2))  # noqa: S311 - spreads load only
            yield
            self.allowed = min(self.limit, self.allowed + 1 / max(1.0, self.allowed))
        except ApiFailure as failure:
            if failure.status == 429:
                self.allowed = max(_MIN_IN_FLIGHT, self.allowed / 2)
                self._not_before = max(self._not_before, loop.time() + failure.retry_after)
            raise
        finally:
            self._leave()

    def _leave(self) -> None:
        self._flying -= 1
        while self._waiting and self._flying < int(self.allowed):
            turn = self._waiting.popleft()
            if not turn.done():
                self._flying += 1
                turn.set_result(None)


class Client:
    """One API server. Make it with `connect`. Not thread-safe: all calls on one event loop."""

    def __init__(self, configuration: Configuration, parallel_calls: int) -> None:
        configuration.connection_pool_maxsize = 0  # the gate bounds calls, and watches must not wait for one
        self._configuration = configuration
        self._api = ApiClient(configuration)
        rest = self._api.rest_client
        # A session of our own: theirs looks for proxies and ~/.netrc again at each call.
        self._session = aiohttp.ClientSession(
            connector=rest.pool_manager.connector, connector_owner=False, read_bufsize=2**21
        )
        self._sending: dict[str, Any] = {
            "proxy": rest.proxy or _proxy(configuration.host or ""),
            "proxy_headers": rest.proxy_headers,
            "server_hostname": rest.server_hostname,
        }
        self.gate = Gate(parallel_calls)

    @classmethod
    async def connect(cls, kubeconfig: str, parallel_calls: int) -> Client:
        """`kubeconfig`: a file; empty: in-cluster credentials where there are any, otherwise the user's kubeconfig.

        Raises ConfigException of kubernetes_asyncio.
        """
        configuration = Configuration()
        if not kubeconfig and Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists():
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(config_file=kubeconfig or None, client_configuration=configuration)
        return cls(configuration, parallel_calls)

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
        seconds: float = CALL_SECONDS,
        content_type: str = "application/json",
        metadata_only: bool = False,
    ) -> dict[str, Any]:
        """One call through the gate; returns the answer's object, or its metadata alone. Raises ApiFailure."""
        async with self.gate():
            try:
                timeout = aiohttp.ClientTimeout(total=seconds, connect=seconds / 2)
                accept = _METADATA if metadata_only else _WHOLE
                response = await self._request(method, path, body, query, timeout, content_type, accept)
                async with response:
                    text = await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise ApiFailure(
                    0, "", f"no answer from the Kubernetes API: {error or type(error).__name__}"
                ) from error
            if response.status >= 300:
                raise _failure(response, text)
            answer: dict[str, Any] = orjson.loads(text)
            return answer

    async def watch(self, path: str, query: Mapping[str, str], silence_seconds: float) -> AsyncIterator[dict[str, Any]]:
        """Yields watch events until the server ends the stream. Raises ApiFailure, also when nothing comes for long."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=silence_seconds, sock_read=silence_seconds)
        try:
            response = await self._request("GET", path, None, query, timeout, "application/json")
            async with response:
                if response.status >= 300:
                    raise _failure(response, await response.read())
                rest = b""
                async for piece in response.content.iter_any():
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        if line:
                            yield orjson.loads(line)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ApiFailure(0, "", f"the watch was cut: {error or type(error).__name__}") from error

    async def stream(
        self, path: str, query: Mapping[str, str], silence_seconds: float = CALL_SECONDS
    ) -> AsyncIterator[bytes]:
        """Yields an answer's bytes as they come. Raises ApiFailure."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=silence_seconds, sock_read=silence_seconds)
        try:
            response = await self._request("GET", path, None, query, timeout, "application/json")
            async with response:
                if response.status >= 300:
                    raise _failure(response, await response.read())
                async for piece in response.content.iter_chunked(1 << 16):
                    yield piece
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiFailure(0, "", f"the answer was cut: {error or type(error).__name__}") from error

    async def _request(
        self,
        method: str,
        path: str,
        body: object,
        query: Mapping[str, str] | None,
        timeout: aiohttp.ClientTimeout,
        content_type: str,
        accept: str = _WHOLE,
    ) -> aiohttp.ClientResponse:
        headers = {"Content-Type": content_type, "Accept": accept, "User-Agent": "spinner-executor"}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"])
        url = f"{self._configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        response: aiohttp.ClientResponse = await self._session.request(
            method,
            URL(url, encoded=True),
            headers=headers,
            data=None if body is None else orjson.dumps(body),
            timeout=timeout,
            **self._sending,
        )
        return response

    async def close(self) -> None:
        await self._session.close()
        await self._api.close()


def _proxy(host: str) -> str | None:
    """The environment's proxy for an address, if there is one."""
    parts = urlsplit(host)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _failure(response: aiohttp.ClientResponse, text: bytes) -> ApiFailure:
    try:
        status = orjson.loads(text)
        reason, message = status.get("reason", ""), status.get("message", "")
        details = status.get("details") or {}
    except (ValueError, AttributeError):
        reason, message, details = "", text.decode(errors="replace")[:500], {}
    try:
        after = float(response.headers.get("Retry-After") or details.get("retryAfterSeconds") or 0)
    except (TypeError, ValueError):
        after = 0.0
    return ApiFailure(response.status, reason or str(response.reason), message, after)
