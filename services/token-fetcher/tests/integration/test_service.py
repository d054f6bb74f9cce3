"""I1: a legacy repository served over gRPC, unmodified, from bounded child processes."""

import importlib.util
import re
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from spinner_dagbag import BoundedRunner
from spinner_proto.tokenfetcher.v1 import tokenfetcher_pb2 as pb
from spinner_proto.tokenfetcher.v1 import tokenfetcher_pb2_grpc as pb_grpc
from spinner_servicekit import grpc_server
from spinner_token_fetcher.adapters.repositories import Repositories
from spinner_token_fetcher.api.service import TokenFetcherService
from spinner_token_fetcher.legacy_child import PRELOAD
from spinner_token_fetcher.settings import RepositorySettings, TokenFetcherSettings

_spec = importlib.util.spec_from_file_location("legacy_repository", Path(__file__).parents[1] / "legacy_repository.py")
legacy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(legacy)
NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)


class Ticks:
    """A clock that moves on at every look, so that no answer is a remembered one."""

    now = 0.0

    def __call__(self):
        self.now += 10
        return self.now


@pytest.fixture(scope="module")
def runner():
    with BoundedRunner(PRELOAD, 1) as made:
        yield made


@pytest.fixture
def serve(runner):
    stops = []

    def start(root, **settings):
        repositories = (RepositorySettings("reports", root),)
        chosen = TokenFetcherSettings(pinball_repositories=repositories, **settings)
        service = TokenFetcherService(Repositories(chosen, runner, Ticks()), lambda: NOW)
        server = grpc_server.serve(
            "127.0.0.1:0",
            ["spinner.tokenfetcher.v1.TokenFetcherService"],
            lambda target: pb_grpc.add_TokenFetcherServiceServicer_to_server(service, target),
        )
        channel = grpc.insecure_channel(server.address)
        stops.extend([channel.close, lambda: server.stop(0)])
        return pb_grpc.TokenFetcherServiceStub(channel)

    yield start
    for stop in stops:
        stop()


def specification(stub, workflow):
    request = pb.GetWorkflowSpecificationRequest(repository="reports", workflow_name=workflow)
    return stub.GetWorkflowSpecification(request).specification


def test_workflows_are_listed_and_each_error_is_its_workflows_own(serve, tmp_path):
    listed = serve(legacy.write(tmp_path)).ListWorkflows(pb.ListWorkflowsRequest(repository="reports"))
    assert list(listed.workflow_names) == ["daily_reports", "odd_hours"]
    messages = {error.workflow_name: error.message for error in listed.errors}
    assert "cycle" in messages["cyclic"]
    assert "depends on missing" in messages["dangling"]
    assert "no schedule" in messages["unscheduled"]
    assert re.fullmatch("[0-9a-f]{16}", listed.version)


def test_a_specification_holds_jobs_commands_and_schedule(serve, tmp_path):
    found = specification(serve(legacy.write(tmp_path)), "daily_reports")
    jobs = {job.name: job for job in found.jobs}
    assert [job.kind for job in found.jobs][-1] == "final"
    assert sorted(jobs["final"].inputs) == ["load", "notify"]
    assert jobs["extract"].command == (
        "python data_job_runner.py --job_full_class=reporter.jobs.etl.ExtractJob --executor=prod_011 "
        '--executor_config="QUEUE=etl" --job_args="end_date={{ macros.ds_add(ds, -1) }}"'
    )
    assert jobs["extract"].max_attempts == 3
    assert jobs["extract"].abort_timeout.seconds == 7200
    assert list(jobs["extract"].emails) == ["a@example.com", "b@example.com"]
    assert (jobs["events_ready"].kind, jobs["events_ready"].max_attempts) == ("condition", 72)
    assert jobs["events_ready"].retry_delay.seconds == 1200
    assert jobs["notify"].command == 'echo "rows: %(rows)s in ."'
    assert list(found.notify_emails) == ["team@example.com", "lead@example.com"]
    assert (found.schedule.overrun_policy, found.max_running_instances) == ("START_NEW", 2)
    assert found.schedule.next_run_time.ToDatetime() == datetime(2026, 3, 6, 0, 0, 1)


def test_text_schedules_and_defaults_of_the_configuration(serve, tmp_path):
    found = specification(serve(legacy.write(tmp_path)), "odd_hours")
    assert found.schedule.recurrence.seconds == 25 * 3600
    assert found.schedule.reference_time.ToDatetime() == datetime(2020, 1, 1, 0, 0, 7)
    assert (found.schedule.overrun_policy, found.max_running_instances) == ("SKIP", 5)
    assert list(found.notify_emails) == ["reports@example.com"]


def test_tokens_have_pinballs_names_and_summed_priorities(serve, tmp_path):
    date = Timestamp()
    date.FromDatetime(datetime(2021, 12, 30))
    request = pb.GetJobTokensRequest(
        repository="reports", workflow_name="daily_reports", instance_id="77", logical_date=date
    )
    tokens = {token.name: token for token in serve(legacy.write(tmp_path)).GetJobTokens(request).tokens}
    root = "/workflow/daily_reports/77"
    assert tokens[f"{root}/job/waiting/extract"].priority == 5 + 1 + 1 + 1
    assert tokens[f"{root}/job/waiting/events_ready"].priority == 9
    assert '--job_args="end_date=2021-12-30"' in tokens[f"{root}/job/waiting/extract"].job.command
    events = [token.name for token in tokens.values() if token.kind == "event"]
    assert events == [f"{root}/input/events_ready/__WORKFLOW_START__/workflow_start_event"]
    assert tokens["/schedule/workflow/daily_reports"].expiration_time.ToDatetime() == datetime(2026, 3, 6, 0, 0, 1)


def test_the_command_of_the_legacy_runner_is_a_setting(serve, tmp_path):
    stub = serve(legacy.write(tmp_path), pinball_command_shape="pinball", pinball_job_repo_dir="/mnt/reports")
    jobs = {job.name: job for job in specification(stub, "daily_reports").jobs}
    assert jobs["load"].command == (
        "cd /mnt/reports && python -m pinball_ext.job.job_runner "
        "--job_import_dirs_config=reporter.job_config.JOB_IMPORT_DIRS --job_class_name=LoadJob "
        '--job_params="end_date={{ macros.ds_add(ds, -1) }}" --write_lock_name=load'
    )


def test_an_edit_is_seen_and_makes_a_new_version(serve, tmp_path):
    stub = serve(legacy.write(tmp_path))
    before = stub.ListWorkflows(pb.ListWorkflowsRequest(repository="reports"))
    text = legacy.FILES["reporter/workflows.py"].replace("'odd_hours'", "'even_hours'")
    legacy.write(tmp_path, reporter__workflows=text)
    after = stub.ListWorkflows(pb.ListWorkflowsRequest(repository="reports"))
    assert list(after.workflow_names) == ["daily_reports", "even_hours"]
    assert after.version != before.version


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("while True: pass", "TimedOut", "took longer than 1 s"),
        ("import os\nos._exit(3)", "Exited", "exit code 3"),
        ("import sys\nsys.exit('bye')", "SystemExit", "bye"),
        ("def broken(:\n", "SyntaxError", "neither Python 3 nor Python 2"),
        ("import nowhere_to_be_found", "ModuleNotFoundError", "nowhere_to_be_found"),
        ("x = [bytearray(1 << 24) for _ in range(1000)]", "OutOfMemory", "memory"),
        ("WORKFLOWS = []", "RepositoryInvalidError", "is not a dict"),
    ],
)
def test_a_bad_repository_is_an_error_that_says_where(serve, tmp_path, text, kind, says):
    stub = serve(
        legacy.write(tmp_path, reporter__workflows=text),
        pinball_timeout_seconds=1 if kind == "TimedOut" else 30,
        pinball_memory_mib=300,
    )
    listed = stub.ListWorkflows(pb.ListWorkflowsRequest(repository="reports"))
    assert [(error.workflow_name, error.error_type) for error in listed.errors] == [("", kind)]
    assert says in listed.errors[0].message
    with pytest.raises(grpc.RpcError) as refused:
        specification(stub, "daily_reports")
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_unknown_names_are_not_found(serve, tmp_path):
    stub = serve(legacy.write(tmp_path))
    with pytest.raises(grpc.RpcError) as refused:
        specification(stub, "nothing")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as refused:
        stub.ListWorkflows(pb.ListWorkflowsRequest(repository="other"))
    assert "reports" in refused.value.details()


def test_the_repositorys_files_stay_as_they_are(serve, tmp_path):
    stub = serve(legacy.write(tmp_path))
    specification(stub, "daily_reports")
    found = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == legacy.FILES
