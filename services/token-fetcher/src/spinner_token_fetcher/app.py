"""The composition root of the token-fetcher."""

from __future__ import annotations

from spinner_dagbag import BoundedRunner
from spinner_proto.tokenfetcher.v1 import tokenfetcher_pb2, tokenfetcher_pb2_grpc
from spinner_servicekit import grpc_server
from spinner_servicekit.app import App

from spinner_token_fetcher.adapters.repositories import Repositories
from spinner_token_fetcher.api.service import TokenFetcherService
from spinner_token_fetcher.legacy_child import PRELOAD
from spinner_token_fetcher.settings import TokenFetcherSettings

_SERVICE = tokenfetcher_pb2.DESCRIPTOR.services_by_name["TokenFetcherService"].full_name


def main(app: App[TokenFetcherSettings]) -> None:
    """Builds the service and runs it until it is stopped."""
    runner = BoundedRunner(PRELOAD, parallel=1)
    runner.start()
    app.on_stop(runner.close)
    service = TokenFetcherService(Repositories(app.settings, runner))
    server = grpc_server.serve(
        app.settings.grpc_address,
        [_SERVICE],
        lambda server: tokenfetcher_pb2_grpc.add_TokenFetcherServiceServicer_to_server(service, server),  # type: ignore[arg-type]
    )
    app.on_stop(server.stop)
    app.ready(grpc=server.address)
    app.wait()
