"""Orders that are no task: the layout of a dynamic DAG's run, and a DAG's own callbacks."""

from __future__ import annotations

import logging
from datetime import UTC
from typing import TYPE_CHECKING

from spinner_proto.common.v1 import common_pb2 as common
from spinner_proto.inbox.v1 import inbox_pb2 as inbox
from spinner_proto.runtime.v1 import runtime_pb2 as pb

from spinner.core.dynamic import DynamicDAG
from spinner.exceptions import SpinnerException
from spinner.runtime.context import parse_conf
from spinner.runtime.current import set_current
from spinner.serialization.definition import content_version, dag_to_definition

if TYPE_CHECKING:
    from spinner.runtime.runner import Work

_log = logging.getLogger("spinner.runtime")


def compute_layout(work: Work) -> pb.FinishRequest:
    """A5: computes the run's layout and publishes it."""
    order = work.order
    with work.stages.stage(common.STAGE_PARSE, f"Reading {order.relative_path}"):
        dag = work.load_dag()
        if not isinstance(dag, DynamicDAG):
            raise SpinnerException(f"DAG {dag.dag_id!r} is no DynamicDAG in this bundle version.")
    with work.stages.stage(common.STAGE_TASK_EXEC, "Computing the layout of the run"):
        set_current(work.api)
        conf = parse_conf(work.conf_json)
        layout = dag.layout(order.logical_date.ToDatetime(tzinfo=UTC), conf)
        definition = dag_to_definition(layout)
        definition.bundle.CopyFrom(order.bundle)
        definition.relative_path = order.relative_path
        definition.dynamic_source_version = order.version
        definition.version = content_version(definition)
        _log.info("The layout has %d tasks", len(definition.tasks))
        request = pb.PublishLayoutRequest(definition=definition.SerializeToString())
        answer = work.connection.call("PublishLayout", request, pb.PublishLayoutResponse)
    return pb.FinishRequest(layout_computed=inbox.LayoutComputed(version=answer.version or definition.version))
