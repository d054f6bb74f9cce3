"""A small repository as users of Pinball wrote them: Python 2, nested imports, subclassed templates."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "pinball.yaml": """
parser: pinball_ext.workflow.parser.PyWorkflowParser
parser_params:
  workflows_config: reporter.workflows.WORKFLOWS
  job_repo_dir: /mnt/reports
  job_import_dirs_config: reporter.job_config.JOB_IMPORT_DIRS
default_max_workflow_running_instances: 5
default_email: reports@example.com
workers: 5
""",
    "reporter/__init__.py": "",
    "reporter/job_config.py": "JOB_IMPORT_DIRS = ['reporter/jobs']\n",
    "reporter/templates.py": """
import urllib2
from pinball_ext import job_templates
from pinball_ext.common.s3_utils import S3Client
from pinball_ext.executor.common import Platform


class SparkTemplate(job_templates.JobTemplate):
    def __init__(self, name, priority=None, max_attempts=3):
        super(SparkTemplate, self).__init__(
            name=name, executor='prod_011', executor_config={'QUEUE': 'etl'}, max_attempts=max_attempts,
            priority=priority, emails=['a@example.com', 'b@example.com'], abort_timeout_sec=7200, warn_timeout_sec=3600)


class PartitionCondition(job_templates.CommandConditionTemplate):
    def __init__(self, table):
        super(PartitionCondition, self).__init__(name='wait_' + table)
        self.table = table

    def get_pinball_condition(self, outputs):
        return super(PartitionCondition, self).get_pinball_condition(
            outputs, params={'command': 'test -e /data/%s' % self.table})
""",
    "reporter/workflows.py": """
from datetime import datetime, timedelta
from pinball.scheduler.overrun_policy import OverrunPolicy
from pinball_ext.job_templates import CommandJobTemplate, JobTemplate
from pinball_ext.workflow.config import JobConfig, ScheduleConfig, WorkflowConfig
from reporter.templates import PartitionCondition, SparkTemplate

print 'reading workflows'
FINAL = JobConfig(CommandJobTemplate('final', 'echo done'))
JOBS = {
    'events_ready': JobConfig(PartitionCondition('events')),
    'extract': JobConfig(SparkTemplate('ExtractJob', priority=5), ['events_ready']),
    'load': JobConfig(JobTemplate('LoadJob', write_lock='load'), ['extract']),
    'notify': JobConfig(CommandJobTemplate('notify', 'echo "rows: %%(rows)s in %(job_repo_dir)s"'), ['extract']),
}
for name, job in JOBS.iteritems():
    assert job.template is not None, name

WORKFLOWS = {
    'daily_reports': WorkflowConfig(
        jobs=JOBS, final_job_config=FINAL,
        schedule=ScheduleConfig(timedelta(days=1), datetime(2015, 2, 1, second=1),
                                overrun_policy=OverrunPolicy.START_NEW, max_running_instances=2),
        notify_emails='team@example.com, lead@example.com'),
    'odd_hours': WorkflowConfig(
        jobs={'only': JobConfig(JobTemplate('LoadJob'))}, final_job_config=FINAL,
        schedule=ScheduleConfig(recurrence='25H', reference_timestamp='2020-01-01 00:00:07')),
    'cyclic': WorkflowConfig(
        jobs={'a': JobConfig(JobTemplate('LoadJob'), ['b']), 'b': JobConfig(JobTemplate('LoadJob'), ['a'])},
        final_job_config=FINAL, schedule=ScheduleConfig(timedelta(hours=1), datetime(2020, 1, 1))),
    'dangling': WorkflowConfig(
        jobs={'a': JobConfig(JobTemplate('LoadJob'), ['missing'])},
        final_job_config=FINAL, schedule=ScheduleConfig(timedelta(hours=1), datetime(2020, 1, 1))),
    'unscheduled': WorkflowConfig(
        jobs={'a': JobConfig(JobTemplate('LoadJob'))}, final_job_config=FINAL, schedule=None),
}
""",
    "reporter/jobs/__init__.py": "",
    "reporter/jobs/etl.py": """
from pinball_ext.job.basic_jobs import PythonJob


class ExtractJob(PythonJob):
    def _execute(self):
        print 'PINBALL:EVENT_ATTR:rows=%d' % 12L


class LoadJob(PythonJob):
    pass
""",
}


def write(root: Path, **changes: str) -> Path:
    """Writes the repository below `root`; `changes` replaces files, named with `__` for `/` and `.py` left out."""
    for path, text in {**FILES, **{f"{name.replace('__', '/')}.py": text for name, text in changes.items()}}.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return root
