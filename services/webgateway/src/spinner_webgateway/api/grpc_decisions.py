"""gRPC: what tasks ask people, their answers, and killing tasks."""

from __future__ import annotations

from typing import Any

import orjson
from spinner_proto.common.v1 import common_pb2
from spinner_proto.gateway.v1 import gateway_pb2
from spinner_proto.inbox.v1 import inbox_pb2

from spinner_webgateway.adapters.actions import Selection
from spinner_webgateway.adapters.views import decisions as views
from spinner_webgateway.api.grpc_common import GatewayMethods, conf_of, limit_of, rejected
from spinner_webgateway.domain import words
from spinner_webgateway.domain.problems import ProblemError


class DecisionMethods(GatewayMethods):
    """For the event loop."""

    async def ListDecisions(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.ListDecisionsRequest, context: Any
    ) -> gateway_pb2.ListDecisionsResponse:
        self._check("dag.read" if request.dag_id else "run.list", f"dag/{request.dag_id}" if request.dag_id else "runs")
        state, limit = request.state or "waiting", limit_of(request.page_size)
        page = await self._read(lambda c: views.listing(c, request.dag_id, state, limit, request.page_token or None))
        return gateway_pb2.ListDecisionsResponse(
            decisions=[_message(item) for item in page["items"]], next_page_token=page["next_cursor"] or ""
        )

    async def DecideTask(  # noqa: N802
        self, request: gateway_pb2.DecideTaskRequest, context: Any
    ) -> gateway_pb2.DecideTaskResponse:
        where = request.key
        key = (where.dag_id, where.run_id, where.task_id, where.map_index)
        facts = {"chosen_options": list(request.chosen_options)[:20], "note": request.note}
        try:
            caller = self._caller()
            subject = "task/" + "/".join(map(str, key))
            with self._gateway.access.act(caller, "task.decide", subject, request.request_id, **facts):
                await self._gateway.actions.decide(
                    caller,
                    key,
                    list(request.chosen_options),
                    conf_of(request.params_json),
                    request.note,
                    request.request_id or None,
                )
        except ProblemError as problem:
            raise rejected(problem) from problem
        return gateway_pb2.DecideTaskResponse()

    async def KillTasks(  # noqa: N802
        self, request: gateway_pb2.KillTasksRequest, context: Any
    ) -> gateway_pb2.KillTasksResponse:
        key, names = request.key, list(request.task_ids)
        try:
            caller = self._caller()
            subject = f"run/{key.dag_id}/{key.run_id}"
            with self._gateway.access.act(caller, "task.kill", subject, request.request_id, task_ids=names[:100]):
                row = await self._gateway.actions.kill_tasks(
                    caller,
                    key.dag_id,
                    key.run_id,
                    Selection(names, list(request.map_indexes)),
                    request.request_id or None,
                )
        except ProblemError as problem:
            raise rejected(problem) from problem
        return gateway_pb2.KillTasksResponse(task_count=row["task_count"])


def _message(found: dict[str, Any]) -> gateway_pb2.Decision:
    return gateway_pb2.Decision(
        key=common_pb2.TaskKey(
            dag_id=found["dag_id"], run_id=found["run_id"], task_id=found["task_id"], map_index=found["map_index"]
        ),
        try_number=found["try_number"],
        state=found["state"],
        request=inbox_pb2.HumanRequest(
            subject=found["subject"],
            body=found["body"],
            options=found["options"],
            multiple=found["multiple"],
            defaults=found["defaults"],
            params_json=orjson.dumps(found["params"]) if found["params"] else b"",
            assignees=found["assignees"],
            deadline=words.from_iso(found["deadline"]),
            kind=found["kind"],
        ),
        chosen_options=found["chosen_options"],
        decided_by=found["decided_by"],
        requested_time=words.from_iso(found["requested_time"]),
        decided_time=words.from_iso(found["decided_time"]),
    )
