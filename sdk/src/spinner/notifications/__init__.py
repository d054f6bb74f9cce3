"""Notifiers: callbacks that tell people and programs how a task or run ended.

    from spinner.notifications import EmailNotifier, SlackWebhookNotifier, WebhookNotifier

    with DAG(…, on_failure_callback=SlackWebhookNotifier(text="{{ dag.dag_id }} failed: {{ reason }}")):
        BashOperator(…, on_failure_callback=[EmailNotifier(to="team@example.com")])

They run in a worker of their own after the end, with the context's templates, and again when they fail. Addresses and
passwords belong in connections.
"""

from spinner.notifications.base import BaseNotifier
from spinner.notifications.email import EmailNotifier, send_email
from spinner.notifications.slack import SlackWebhookNotifier
from spinner.notifications.webhook import WebhookNotifier

__all__ = ["BaseNotifier", "EmailNotifier", "SlackWebhookNotifier", "WebhookNotifier", "send_email"]
