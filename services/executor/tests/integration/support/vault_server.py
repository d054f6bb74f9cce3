"""A Vault as its HTTP API documents it: token and AppRole sign-in, policies, KV versions 1 and 2, sealing.

Paths, bodies and statuses: developer.hashicorp.com/vault/api-docs ("Secrets engines", "Auth methods", "Status codes").
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class VaultServer:
    """`data`: path below the mount → fields. `tokens`: token → prefix of what it may read."""

    def __init__(self, kv_version: int = 2) -> None:
        self.kv_version = kv_version
        self.data: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, str] = {}
        self.roles: dict[tuple[str, str], str] = {}
        self.sealed = False
        self.requests: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(*outer.read(self.path, self.headers.get("X-Vault-Token", "")))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
                self._answer(*outer.sign_in(self.path, body))

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def read(self, path: str, token: str) -> tuple[int, dict[str, Any]]:
        self.requests.append(path)
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        allowed = self.tokens.get(token)
        where = path.removeprefix("/v1/secret/")
        if self.kv_version == 2:
            where = where.removeprefix("data/")
        if allowed is None or not where.startswith(allowed):
            return 403, {"errors": ["permission denied"]}
        fields = self.data.get(where)
        if fields is None:
            return 404, {"errors": []}
        data: dict[str, Any] = dict(fields)
        if self.kv_version == 2:
            data = {"data": data, "metadata": {"version": 1, "destroyed": False, "deletion_time": ""}}
        return 200, {"request_id": "1", "lease_duration": 2764800, "renewable": False, "data": data}

    def sign_in(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.requests.append(path)
        token = self.roles.get((body.get("role_id", ""), body.get("secret_id", "")))
        if path != "/v1/auth/approle/login" or token is None:
            return 400, {"errors": ["invalid role or secret ID"]}
        return 200, {
            "auth": {"client_token": token, "lease_duration": 1200, "renewable": True, "policies": ["default"]}
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
