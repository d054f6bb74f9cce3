"""Callbacks of ends are tries of their own; notifiers reach real servers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from spinner_proto.common.v1 import common_pb2 as common
from spinner_proto.orders.v1 import orders_pb2 as orders
from spinner_proto.runtime.v1 import runtime_pb2 as pb

TASK = """
def note(name):
    def said(context):
        print("called", name, context["ti"].task_id, context["ti"].state, context.get("exception"))
    return said
with DAG("d", on_failure_callback=lambda c: print("dag", c["dag_run"].state, c["reason"]), **OPTIONS):
    @task(on_success_callback=note("success"), on_failure_callback=[note("failure"), lambda c: 1 / 0, note("after")],
          on_retry_callback=note("retry"), on_skipped_callback=note("skipped"), on_execute_callback=note("execute"))
    def t(ti):
        raise ValueError("again")
    t()
"""


def call(executor: Any, source: str, callback: str, task: str = "t", **more: Any) -> Any:
    task_id = f"__callback__.{task}" if task else "__callback__"
    return executor.run(source, task_id, kind=orders.ORDER_KIND_CALLBACK, callback=callback, **more)


def test_the_try_itself_only_calls_on_execute(executor: Any) -> None:
    result = executor.run(TASK)
    assert "called execute t" in result.log
    assert "called failure" not in result.log


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        ("success", "called success t success None"),
        ("retry", "called retry t up_for_retry it broke"),
        ("skipped", "called skipped t skipped None"),
    ],
)
def test_each_end_has_its_callbacks(executor: Any, callback: str, said: str) -> None:
    result = call(executor, TASK, callback, callback_reason="it broke")
    assert said in result.log
    assert result.outcome == "success"
    assert result.ended.stages[-1].stage == common.STAGE_CALLBACK


def test_one_that_fails_fails_the_try_and_only_that_one_is_called_again(executor: Any) -> None:
    first = call(executor, TASK, "failure", callback_reason="it broke")
    assert (first.outcome, first.ended.message) == ("failed", "ZeroDivisionError: division by zero")
    assert "called failure t failed it broke" in first.log
    assert "called after t" in first.log
    again = call(executor, TASK, "failure", callback_reason="it broke", segment=1)
    assert again.outcome == "failed"
    assert "called failure" not in again.log
    assert "called after" not in again.log


def test_the_callbacks_of_a_dag(executor: Any) -> None:
    result = call(executor, TASK, "failure", task="", callback_reason="t failed")
    assert result.outcome == "success"
    assert "dag failed t failed" in result.log


class Mailbox:
    """What an SMTP server got."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.recipients: list[list[str]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.messages.append(message_from_bytes(envelope.content, policy=default))
        self.recipients.append(envelope.rcpt_tos)
        return "250 OK"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()

    def sign_in(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = (data.login, data.password) == (b"robot", b"p4ss")
        return AuthResult(success=good, handled=good)

    controller = Controller(
        box, hostname="127.0.0.1", port=_free_port(), authenticator=sign_in, auth_require_tls=False, auth_required=True
    )
    controller.start()
    yield box, controller.port
    controller.stop()


MAIL = """
from spinner.notifications import EmailNotifier
with DAG("d", default_args={"email": ["a@example.com", "b@example.com"]}, **OPTIONS):
    BashOperator(task_id="t", bash_command="false", email_on_retry=False, on_success_callback=EmailNotifier(
        to="c@example.com; d@example.com", subject="{{ ti.task_id }} of {{ ds }}", html_content="<p>{{ run_id }}</p>"))
"""


def smtp(port: int, password: str = "p4ss") -> pb.GetConnectionResponse:
    extra = json.dumps({"from_email": "spinner@example.com", "encryption": "none"})
    return pb.GetConnectionResponse(
        found=True, type="smtp", host="127.0.0.1", port=port, login="robot", password=password, extra_json=extra
    )


def test_a_failure_is_mailed_to_those_who_asked(executor: Any, mailbox: tuple[Mailbox, int]) -> None:
    box, port = mailbox
    executor.connections["smtp_default"] = smtp(port)
    assert call(executor, MAIL, "retry").outcome == "success"
    assert box.messages == []
    assert call(executor, MAIL, "failure", callback_reason="exit code <1>").outcome == "success"
    (message,) = box.messages
    assert message["Subject"] == "Spinner: d.t failed"
    assert box.recipients == [["a@example.com", "b@example.com"]]
    assert "exit code &lt;1&gt;" in message.get_body(("html",)).get_content()
    assert "exit code <1>" in message.get_body(("plain",)).get_content()


def test_a_notifier_renders_its_templates(executor: Any, mailbox: tuple[Mailbox, int]) -> None:
    box, port = mailbox
    executor.connections["smtp_default"] = smtp(port)
    result = call(executor, MAIL, "success")
    assert result.outcome == "success", result.log
    (message,) = box.messages
    assert message["Subject"].startswith("t of 20")
    assert box.recipients == [["c@example.com", "d@example.com"]]


def test_a_mail_that_is_refused_fails_the_callback(executor: Any, mailbox: tuple[Mailbox, int]) -> None:
    _, port = mailbox
    assert "Connection 'smtp_default' for e-mail does not exist" in call(executor, MAIL, "success").ended.message
    executor.connections["smtp_default"] = smtp(port, "wrong")
    assert "SMTPAuthenticationError" in call(executor, MAIL, "success").ended.message


@pytest.fixture
def web() -> Iterator[tuple[str, list[tuple[str, Any, Any]]]]:
    got: list[tuple[str, Any, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append((self.path, dict(self.headers), body))
            self.send_response(200 if self.path != "/refused" else 403)
            self.end_headers()
            self.wfile.write(b"ok" if self.path != "/refused" else b"invalid_token")

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", got
    server.shutdown()
    server.server_close()


WEB = """
from spinner.notifications import SlackWebhookNotifier, WebhookNotifier
with DAG("d", on_failure_callback=SlackWebhookNotifier(), **OPTIONS):
    @task(on_failure_callback=[WebhookNotifier(http_conn_id="hook"), WebhookNotifier(http_conn_id="hook",
          payload={"text": "{{ ti.task_id }}", "n": 1}, headers={"X-Run": "{{ run_id }}"})])
    def t(): ...
    t()
"""


def test_webhooks_get_facts_or_a_payload(executor: Any, web: Any) -> None:
    url, got = web
    executor.connections["hook"] = pb.GetConnectionResponse(found=True, host=f"{url}/hook", password="t0ken")
    result = call(executor, WEB, "failure", callback_reason="it broke", try_number=2)
    assert result.outcome == "success", result.log
    (_, headers, facts), (_, other_headers, payload) = got
    assert headers["Authorization"] == "Bearer t0ken"
    assert (facts["dag_id"], facts["task_id"], facts["state"], facts["reason"], facts["try_number"]) == (
        "d", "t", "failed", "it broke", 2,
    )  # fmt: skip
    assert payload == {"text": "t", "n": 1}
    assert other_headers["X-Run"] == facts["run_id"]


def test_slack_gets_a_text_and_a_refusal_says_why_without_the_secret(executor: Any, web: Any) -> None:
    url, got = web
    executor.connections["slack_default"] = pb.GetConnectionResponse(found=True, password=f"{url}/services/T/B/x")
    assert call(executor, WEB, "failure", task="", callback_reason="t failed").outcome == "success"
    assert got[0][0] == "/services/T/B/x"
    assert got[0][2]["text"].startswith("*d* failed (")
    assert got[0][2]["text"].endswith("> t failed")
    executor.connections["slack_default"] = pb.GetConnectionResponse(found=True, password=f"{url}/refused")
    refused = call(executor, WEB, "failure", task="").ended.message
    assert "answered 403" in refused
    assert "invalid_token" in refused
    assert "/refused" not in refused
