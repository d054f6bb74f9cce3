"""Whose a token is: signed by the cluster, for this cluster's executors, of a pod of this namespace."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from spinner_executor.adapters.backend import Unproven
from spinner_executor.adapters.kubernetes.client import ApiFailure, Client
from spinner_executor.adapters.kubernetes.tokens import Claim, Tokens, audience

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
OTHER = rsa.generate_private_key(65537, 2048)


class Api:
    """Answers with public keys."""

    def __init__(self, *keys: tuple[str, Any]) -> None:
        self.asked = 0
        self.failure: ApiFailure | None = None
        self.keys = dict(keys)

    async def call(self, method: str, path: str) -> dict[str, Any]:
        assert (method, path) == ("GET", "/openid/v1/jwks")
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return {"keys": [self.public(name, key) for name, key in self.keys.items()]}

    def public(self, name: str, key: Any) -> dict[str, Any]:
        kind, name_of = (jwt.algorithms.RSAAlgorithm, "RS256") if isinstance(key, rsa.RSAPrivateKey) else (
            jwt.algorithms.ECAlgorithm, "ES256"
        )  # fmt: skip
        return {**json.loads(kind.to_jwk(key.public_key())), "kid": name, "alg": name_of, "use": "sig"}


def opened(api: Api) -> Tokens:
    tokens = Tokens(cast(Client, api), "spinner-x", "x")
    asyncio.run(tokens.open())
    return tokens


def token(key: Any = RSA, kid: str = "one", target: str = "", **about: Any) -> str:
    claims = {
        "aud": [target or audience("x", 3)],
        "exp": 1,  # long ago: its age isn't asked
        "iss": "https://kubernetes.default.svc",
        "kubernetes.io": {"namespace": "spinner-x", "pod": {"name": "worker-1", "uid": "u1"}, **about},
    }
    return jwt.encode(claims, key, "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256", {"kid": kid})


def test_it_says_whose_it_is() -> None:
    assert opened(Api(("one", RSA))).claim(token()) == Claim("worker-1", "u1", 3)


@pytest.mark.parametrize(
    "bad",
    [
        "", "x", "a.b.c", "local-1.3.secret",
        token(target="https://kubernetes.default.svc"), token(target="spinner:y:3"), token(target="spinner:x:all"),
        token(namespace="default"), token(pod=None), token(pod={"name": "worker-1"}),
    ],
)  # fmt: skip
def test_what_is_for_others_says_nothing(bad: str) -> None:
    assert opened(Api(("one", RSA))).claim(bad) is None


@pytest.mark.parametrize("key", [RSA, EC])
def test_only_the_clusters_signature_is_genuine(key: Any) -> None:
    tokens = opened(Api(("one", key)))
    good = token(key)
    assert tokens.is_genuine(good)
    head, _, signature = good.split(".")
    assert not tokens.is_genuine(token(OTHER))
    assert not tokens.is_genuine(f"{head}.{token(key, target='spinner:x:4').split('.')[1]}.{signature}")
    assert not tokens.is_genuine(jwt.encode({"aud": ["spinner:x:3"]}, None, "none", {"kid": "one"}))
    assert not tokens.is_genuine("nothing")


def test_a_new_key_is_looked_for_and_then_known() -> None:
    api = Api(("one", RSA))

    async def scenario() -> None:
        tokens = Tokens(cast(Client, api), "spinner-x", "x", refresh_seconds=0.0)
        await tokens.open()
        api.keys["two"] = EC
        with pytest.raises(Unproven):
            tokens.is_genuine(token(EC, "two"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert tokens.is_genuine(token(EC, "two"))

    asyncio.run(scenario())


def test_tokens_of_unknown_keys_do_not_ask_the_api_each_time() -> None:
    api = Api(("one", RSA))

    async def scenario() -> None:
        tokens = Tokens(cast(Client, api), "spinner-x", "x", refresh_seconds=60.0)
        await tokens.open()
        for _ in range(10):
            with pytest.raises(Unproven):
                tokens.is_genuine(token(OTHER, "three"))
            await asyncio.sleep(0)
        assert api.asked == 1

    asyncio.run(scenario())


def test_what_forbids_to_read_the_keys_is_said() -> None:
    api = Api()
    api.failure = ApiFailure(403, "Forbidden", "no")
    with pytest.raises(ApiFailure, match="system:service-account-issuer-discovery"):
        opened(api)
