"""A legacy repository: one workflow of five command jobs, as its authors wrote it for Pinball."""
from datetime import datetime, timedelta

from pinball_ext.job_templates import CommandJobTemplate
from pinball_ext.workflow.config import JobConfig, ScheduleConfig, WorkflowConfig


JOB_IMPORT_DIRS = ['solar.jobs']


class PythonSnippetTemplate(CommandJobTemplate):
    def __init__(self, name, snippet, **kwargs):
        super(PythonSnippetTemplate, self).__init__(
            name, 'python -c "%s"' % snippet, **kwargs)


WORKFLOWS = {
    'solar_report': WorkflowConfig(
        jobs={
            'extract': JobConfig(
                CommandJobTemplate('extract', 'echo PINBALL:EVENT_ATTR:planets=8')),
            'inner': JobConfig(
                PythonSnippetTemplate('inner', "print('Mercury Venus Earth Mars')"),
                ['extract']),
            'outer': JobConfig(
                PythonSnippetTemplate('outer', "print('Jupiter Saturn Uranus Neptune')"),
                ['extract']),
            'merge': JobConfig(
                CommandJobTemplate('merge', 'echo merged the inner and the outer planets',
                                   max_attempts=2),
                ['inner', 'outer']),
            'publish': JobConfig(
                CommandJobTemplate('publish', 'date -u && echo published', priority=5),
                ['merge']),
        },
        final_job_config=JobConfig(CommandJobTemplate('final', 'echo the report is complete')),
        schedule=ScheduleConfig(
            recurrence=timedelta(hours=25),
            reference_timestamp=datetime(2026, 1, 1, 3, 30, 7)),
        notify_emails=['samples@example.com']),
}
