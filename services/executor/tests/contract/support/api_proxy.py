"""A proxy in front of the Kubernetes API that misbehaves as it is told: slow, failing, forgetful, repeating itself."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import threading
from collections import Counter
from pathlib import Path

import aiohttp
from aiohttp import web
from spinner_servers.kubernetes import Cluster, pki
from spinner_servers.process import free_port


class ApiProxy:
    """`created`: names of pods that the API made, by how often. `calls`: how many of each kind."""

    def __init__(self, cluster: Cluster, folder: Path, seed: int = 1) -> None:
        self.created: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        # What goes wrong: seconds before each call; shares of calls and events.
        self.delay = 0.0
        self.fails = 0.0
        self.lost_answers = 0.0
        self.busy = 0.0
        self.drops = 0.0
        self.repeats = 0.0
        self.cut_after = 0.0
        self.gone = False
        self._cluster = cluster
        self._random = random.Random(seed)
        port = free_port()
        self.kubeconfig = pki.kubeconfig(folder / "proxy.kubeconfig", f"http://127.0.0.1:{port}", cluster.ca, "unused")
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        started = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(port, started),))
        self._thread.start()
        assert started.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self, port: int, started: threading.Event) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        trust = ssl.create_default_context(cafile=self._cluster.ca)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust, limit=0), read_bufsize=2**21, timeout=aiohttp.ClientTimeout()
        ) as self._session:
            started.set()
            await self._stop.wait()
            await runner.cleanup()

    def _happens(self, share: float) -> bool:
        return self._random.random() < share

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        watching = request.query.get("watch") == "true"
        kind = "watch" if watching else request.method
        if kind == "GET" and request.path.endswith("/pods"):
            kind = "list"
        if request.path.endswith("/log"):
            kind = "log"
        self.calls[kind] += 1
        if self.delay:
            await asyncio.sleep(self.delay)
        if not watching and self._happens(self.busy):
            return _status(429, "TooManyRequests", "too many requests", {"Retry-After": "1"})
        if not watching and self._happens(self.fails):
            return _status(500, "InternalError", "etcdserver: leader changed")
        if watching and self.gone:
            return await self._events(request, [{"type": "ERROR", "object": _object(410, "Expired", "too old")}])
        headers = {"Authorization": f"Bearer {self._cluster.token}", "Content-Type": "application/json"}
        if "Content-Type" in request.headers:
            headers["Content-Type"] = request.headers["Content-Type"]
        try:
            async with self._session.request(
                request.method, self._cluster.url + request.path_qs, data=await request.read(), headers=headers
            ) as answer:
                if watching and answer.status == 200:
                    return await self._stream(request, answer)
                body = await answer.read()
        except (aiohttp.ClientError, OSError):
            assert request.transport is not None
            request.transport.close()
            raise web.HTTPBadGateway from None
        if request.method == "POST" and request.path.endswith("/pods") and answer.status == 201:
            self.created[json.loads(body)["metadata"]["name"]] += 1
        if request.method != "GET" and self._happens(self.lost_answers):  # carried out, but nobody hears of it
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=answer.status, body=body, content_type="application/json")

    async def _events(self, request: web.Request, events: list[dict[str, object]]) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            await response.write(json.dumps(event).encode() + b"\n")
        return response

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            async with asyncio.timeout(self.cut_after or None):
                earlier = b""
                async for line in answer.content:
                    if self.gone:
                        break
                    if self._happens(self.drops):
                        continue
                    await response.write(line)
                    if earlier and self._happens(self.repeats):
                        await response.write(line + earlier)
                    earlier = line
        except (TimeoutError, aiohttp.ClientError, OSError):
            if request.transport is not None:
                request.transport.close()
        return response


def _object(code: int, reason: str, message: str) -> dict[str, object]:
    return {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


def _status(code: int, reason: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(_object(code, reason, message), status=code, headers=headers)
