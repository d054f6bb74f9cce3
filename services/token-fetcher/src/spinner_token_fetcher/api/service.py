"""TokenFetcherService: workflows, specifications and tokens of legacy repositories."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from spinner_proto.tokenfetcher.v1 import tokenfetcher_pb2 as pb
from spinner_servicekit.errors import Rejected

from spinner_token_fetcher.adapters.repositories import Repositories
from spinner_token_fetcher.domain.model import Job, Repository, Workflow, WorkflowError
from spinner_token_fetcher.domain.schedule import next_run
from spinner_token_fetcher.domain.tokens import Token, tokens


class TokenFetcherService:
    """Raises Rejected; the server turns it into a status."""

    def __init__(self, repositories: Repositories, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._repositories, self._clock = repositories, clock

    def ListWorkflows(self, request: pb.ListWorkflowsRequest, context: Any) -> pb.ListWorkflowsResponse:  # noqa: N802
        repository = self._repository(request.repository)
        return pb.ListWorkflowsResponse(
            workflow_names=sorted(repository.workflows),
            errors=[_error(error) for error in repository.errors],
            version=repository.version,
        )

    def GetWorkflowSpecification(  # noqa: N802
        self, request: pb.GetWorkflowSpecificationRequest, context: Any
    ) -> pb.GetWorkflowSpecificationResponse:
        repository = self._repository(request.repository)
        workflow = _workflow(repository, request.workflow_name)
        specification = pb.WorkflowSpecification(
            workflow_name=workflow.name,
            jobs=[_job(job) for job in workflow.jobs],
            schedule=_schedule(workflow, self._clock()),
            notify_emails=workflow.notify_emails,
            max_running_instances=workflow.schedule.max_running_instances,
            version=repository.version,
        )
        return pb.GetWorkflowSpecificationResponse(specification=specification)

    def GetJobTokens(self, request: pb.GetJobTokensRequest, context: Any) -> pb.GetJobTokensResponse:  # noqa: N802
        """Without a logical date, commands carry the end date as a template (see the README)."""
        repository = self._repository(request.repository)
        workflow = _workflow(repository, request.workflow_name)
        if not request.instance_id:
            raise Rejected(
                "INVALID_ARGUMENT", "The request has no instance_id", "Give the id of the workflow's instance."
            )
        if request.HasField("logical_date"):
            end_date = request.logical_date.ToDatetime().date().isoformat()
            rendered = self._repositories.render(request.repository, workflow.name, end_date)
            if rendered is None:
                raise Rejected("ABORTED", f"Workflow {workflow.name} changed while it was read", "Ask again.")
            workflow = rendered
        made = tokens(workflow, request.instance_id, self._clock())
        return pb.GetJobTokensResponse(tokens=[_token(token) for token in made])

    def _repository(self, name: str) -> Repository:
        try:
            return self._repositories.get(name)
        except KeyError:
            known = ", ".join(self._repositories.names()) or "none"
            fix = f"Known repositories: {known} (SPINNER_PINBALL_REPOSITORIES)."
            raise Rejected("NOT_FOUND", f"There is no repository {name!r}", fix) from None


def _workflow(repository: Repository, name: str) -> Workflow:
    workflow = repository.workflows.get(name)
    if workflow is not None:
        return workflow
    for error in repository.errors:
        if error.workflow_name in (name, ""):
            place = f" ({error.file}, line {error.line})" if error.file else ""
            raise Rejected("FAILED_PRECONDITION", f"{error.error_type}: {error.message}{place}")
    known = ", ".join(sorted(repository.workflows)[:20]) or "none"
    raise Rejected("NOT_FOUND", f"There is no workflow {name!r}", f"Workflows are: {known}.")


def _error(error: WorkflowError) -> pb.WorkflowError:
    return pb.WorkflowError(
        workflow_name=error.workflow_name,
        error_type=error.error_type,
        message=error.message,
        file=error.file,
        line=error.line,
        stack_trace=error.stack_trace,
    )


def _job(job: Job) -> pb.JobSpecification:
    made = pb.JobSpecification(
        name=job.name,
        inputs=job.inputs,
        outputs=job.outputs,
        kind=job.kind,
        command=job.command,
        max_attempts=job.max_attempts,
        emails=job.emails,
        priority=job.priority,
        executor=job.executor,
        job_class=job.job_class,
        template=job.template,
    )
    if job.retry_delay_seconds:
        made.retry_delay.FromMicroseconds(round(job.retry_delay_seconds * 1e6))
    if job.warn_timeout_seconds:
        made.warn_timeout.FromMicroseconds(round(job.warn_timeout_seconds * 1e6))
    if job.abort_timeout_seconds:
        made.abort_timeout.FromMicroseconds(round(job.abort_timeout_seconds * 1e6))
    return made


def _schedule(workflow: Workflow, now: datetime) -> pb.LegacySchedule:
    schedule = workflow.schedule
    made = pb.LegacySchedule(
        overrun_policy=schedule.overrun_policy, max_running_instances=schedule.max_running_instances
    )
    made.recurrence.FromTimedelta(schedule.recurrence)
    made.reference_time.FromDatetime(schedule.reference_time)
    made.next_run_time.FromDatetime(next_run(schedule.reference_time, schedule.recurrence, now))
    return made


def _token(token: Token) -> pb.JobToken:
    made = pb.JobToken(name=token.name, priority=token.priority, kind=token.kind)
    if token.job is not None:
        made.job.CopyFrom(_job(token.job))
    if token.expiration_time is not None:
        made.expiration_time.FromDatetime(token.expiration_time)
    return made
