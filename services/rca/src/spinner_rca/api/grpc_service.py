"""gRPC: classify a log by hand, list what is known."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from spinner_proto.rca.v1 import rca_pb2, rca_pb2_grpc
from spinner_servicekit.errors import Rejected

from spinner_rca.adapters.diagnoser import diagnosis_message
from spinner_rca.domain.classifier import Failure, classify
from spinner_rca.domain.rules import Rules
from spinner_rca.domain.section import failed_section

SERVICE = rca_pb2.DESCRIPTOR.services_by_name["RcaService"].full_name
TEXT_LIMIT_BYTES = 4 * 1024 * 1024


class RcaService(rca_pb2_grpc.RcaServiceServicer):
    """For the event loop."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    async def ClassifyLog(  # noqa: N802 - the contract's name
        self, request: rca_pb2.ClassifyLogRequest, context: Any
    ) -> rca_pb2.ClassifyLogResponse:
        if len(request.text) > TEXT_LIMIT_BYTES:
            raise Rejected(
                "INVALID_ARGUMENT",
                f"The text has {len(request.text):,} characters; the limit is {TEXT_LIMIT_BYTES:,}",
                "send the end of the log",
                "TEXT_TOO_LARGE",
            )
        outcome = request.outcome.lower().removeprefix("outcome_")
        text, first_line = failed_section(request.text, 1, "")
        failure = Failure(outcome=outcome, log=text, first_line=first_line)
        verdict = await asyncio.to_thread(classify, failure, self._rules)
        return rca_pb2.ClassifyLogResponse(diagnosis=diagnosis_message(verdict, self._rules))

    async def ListCategories(  # noqa: N802
        self, request: rca_pb2.ListCategoriesRequest, context: Any
    ) -> rca_pb2.ListCategoriesResponse:
        rules = (*self._rules.rules, self._rules.unknown)
        return rca_pb2.ListCategoriesResponse(
            categories=[
                rca_pb2.Category(category=rule.category, title=rule.title, owner=rule.owner, how_to_fix=rule.how_to_fix)
                for rule in rules
            ]
        )


def register(server: grpc.aio.Server, rules: Rules) -> None:
    """Adds the service to a server."""
    rca_pb2_grpc.add_RcaServiceServicer_to_server(RcaService(rules), server)
