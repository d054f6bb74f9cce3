"""Slack: an incoming webhook (api.slack.com/messaging/webhooks).

Connection ``slack_default``: the webhook's address as ``password`` (it is a secret).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from spinner.notifications.base import BaseNotifier, connection, link_of, state_of, subject_of
from spinner.notifications.webhook import address, post_json


class SlackWebhookNotifier(BaseNotifier):
    """Posts ``text`` (by default what ended, how and why), or ``blocks`` with the text as its short form."""

    template_fields: ClassVar[Sequence[str]] = ("text", "blocks", "channel")

    def __init__(
        self,
        text: str = "",
        *,
        blocks: Sequence[dict[str, Any]] | None = None,
        channel: str = "",
        slack_webhook_conn_id: str = "slack_default",
        timeout: float = 30.0,
    ) -> None:
        self.text, self.blocks, self.channel = text, blocks, channel
        self.slack_webhook_conn_id, self.timeout = slack_webhook_conn_id, timeout

    def notify(self, context: dict[str, Any]) -> None:
        found = connection(self.slack_webhook_conn_id, "Slack")
        message: dict[str, Any] = {"text": self.text or _text(context)}
        if self.blocks:
            message["blocks"] = self.blocks
        if self.channel:
            message["channel"] = self.channel
        post_json(found.password or address(found), message, {}, self.timeout)


def _text(context: dict[str, Any]) -> str:
    title, link = subject_of(context), link_of(context)
    name = f"<{link}|{title}>" if link else f"*{title}*"
    reason = str(context.get("reason") or "")
    return f"{name} {state_of(context)} ({context['dag_run'].run_id})" + (f"\n> {reason}" if reason else "")
