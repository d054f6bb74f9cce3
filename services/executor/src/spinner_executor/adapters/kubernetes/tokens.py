"""Who a worker is: the token that its kubelet gives to its pod, checked with the cluster's public keys.

A projected volume brings a token of the pod's service account, made for one audience, `spinner:<cluster>:<order
partition>`, and bound to the pod by name and uid. So no object of the API holds it, nothing has to be made, handed over
to a next executor or removed, and the token of an earlier pod of the same name is worth nothing. A worker reads it
once, so its age isn't asked: it is good for as long as that pod's try lives.

(https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken, RFC 7517, RFC 7519)
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.types import Options

from spinner_executor.adapters.backend import Unproven
from spinner_executor.adapters.kubernetes.client import ApiFailure, Backoff, Client

_log = logging.getLogger(__name__)
KEYS_PATH = "/openid/v1/jwks"
# Of these claims only the signature is asked; who it is for and about is compared below.
_UNCHECKED: Options = {
    "verify_aud": False, "verify_iss": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False,
    "verify_sub": False, "verify_jti": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Claim:
    """What a token says, true only if it is genuine."""

    pod: str
    uid: str
    partition: int


def audience(cluster: str, partition: int) -> str:
    """Whom the token of a pod of this order partition is for."""
    return f"spinner:{cluster}:{partition}"


class Tokens:
    """Runs on the event loop. `refresh_seconds`: how often new keys are looked for at most."""

    def __init__(self, client: Client, namespace: str, cluster: str, refresh_seconds: float = 5.0) -> None:
        self._refresh_seconds = refresh_seconds
        self._client = client
        self._namespace = namespace
        self._audience = f"spinner:{cluster}:"
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._refreshed = 0.0
        self._refreshing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Reads the cluster's keys; waits while the API does not answer. Raises ApiFailure."""
        backoff = Backoff()
        while True:
            try:
                return await self._read()
            except ApiFailure as failure:
                if not failure.passing:
                    raise ApiFailure(
                        failure.status, failure.reason, f"the cluster's public keys ({KEYS_PATH}) cannot be read: "
                        f"{failure.message}; bind ClusterRole system:service-account-issuer-discovery to the "
                        "executor's service account",
                    ) from failure  # fmt: skip
                _log.warning("the Kubernetes API is not ready: %s", failure)
                await asyncio.sleep(backoff.pause(failure.retry_after))

    async def _read(self) -> None:
        answer = await self._client.call("GET", KEYS_PATH)
        try:
            self._keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(answer).keys}
        except jwt.PyJWTError as error:
            raise ApiFailure(0, "", f"the cluster's public keys are unreadable: {error}") from error
        self._refreshed = asyncio.get_running_loop().time()

    async def _refresh(self) -> None:
        try:
            await self._read()
        except ApiFailure as failure:
            _log.warning("the cluster's public keys cannot be read again: %s", failure)

    def claim(self, token: str) -> Claim | None:
        """What a token says, unchecked; None when it isn't one for this cluster's workers."""
        try:
            content: dict[str, Any] = jwt.decode(token, options={"verify_signature": False, **_UNCHECKED})
            (target,) = content["aud"]
            about = content["kubernetes.io"]
            if about["namespace"] != self._namespace or not target.startswith(self._audience):
                return None
            return Claim(about["pod"]["name"], about["pod"]["uid"], int(target.removeprefix(self._audience)))
        except (jwt.PyJWTError, KeyError, TypeError, ValueError, AttributeError):
            return None

    def is_genuine(self, token: str) -> bool:
        """Whether the cluster signed it. Raises Unproven while the key that it names is being looked for."""
        try:
            key = self._keys.get(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                self._look_for_new_keys()
                raise Unproven("the token is signed with a key that is not known yet")
            jwt.decode(token, key, algorithms=[key.algorithm_name], options=_UNCHECKED)
        except jwt.PyJWTError:
            return False
        return True

    def _look_for_new_keys(self) -> None:
        loop = asyncio.get_running_loop()
        running = self._refreshing is not None and not self._refreshing.done()
        if not running and loop.time() - self._refreshed > self._refresh_seconds:
            self._refreshed = loop.time()
            self._refreshing = loop.create_task(self._refresh())
