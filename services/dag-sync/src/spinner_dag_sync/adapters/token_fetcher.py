"""Asks the token-fetcher for the workflows of a legacy repository."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from spinner_proto.tokenfetcher.v1 import tokenfetcher_pb2 as tf
from spinner_proto.tokenfetcher.v1 import tokenfetcher_pb2_grpc as tf_grpc

from spinner_dag_sync.domain.errors import BundleError

# Parsing a repository that changed takes as long as its bound in the token-fetcher.
_TIMEOUT_SECONDS = 90.0
_MAX_MESSAGE_BYTES = 64 << 20


class TokenFetcher:
    """A client of one token-fetcher. Thread-safe. All methods raise BundleError when there is no answer."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_reconnect_backoff_ms", 2000),
                # Several clients of one address must not share a broken connection.
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        self._stub = tf_grpc.TokenFetcherServiceStub(self._channel)

    def workflows(self, repository: str) -> tf.ListWorkflowsResponse:
        answer: tf.ListWorkflowsResponse = self._call(
            self._stub.ListWorkflows, tf.ListWorkflowsRequest(repository=repository)
        )
        return answer

    def specification(self, repository: str, workflow: str) -> tf.WorkflowSpecification:
        request = tf.GetWorkflowSpecificationRequest(repository=repository, workflow_name=workflow)
        answer: tf.GetWorkflowSpecificationResponse = self._call(self._stub.GetWorkflowSpecification, request)
        return answer.specification

    def priorities(self, repository: str, workflow: str) -> dict[str, float]:
        """Returns the priority of each job's token."""
        request = tf.GetJobTokensRequest(repository=repository, workflow_name=workflow, instance_id="definition")
        answer: tf.GetJobTokensResponse = self._call(self._stub.GetJobTokens, request)
        return {token.job.name: token.priority for token in answer.tokens if token.kind == "job"}

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=_TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            code = error.code().name if isinstance(error, grpc.Call) else "UNKNOWN"
            details = (error.details() or "") if isinstance(error, grpc.Call) else str(error)
            if code == "NOT_FOUND":
                fix = (
                    "Correct `repository` of the bundle, or add it to the token-fetcher (SPINNER_PINBALL_REPOSITORIES)."
                )
                raise BundleError("BundleNotFound", details, fix) from error
            message = f"The token-fetcher at {self._address} does not answer ({code}: {details})"
            fix = "Start it, or correct SPINNER_TOKEN_FETCHER."
            raise BundleError("TokenFetcherError", message, fix) from error
