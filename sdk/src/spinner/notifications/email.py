"""E-mail by SMTP.

Connection ``smtp_default``: host, port, login, password; extra: ``from_email``, ``encryption`` ("starttls", the
default when there is a password; "ssl"; "none"), ``timeout`` in seconds.
"""

from __future__ import annotations

import html
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any, ClassVar

from spinner.exceptions import SpinnerException
from spinner.notifications.base import BaseNotifier, connection, facts_of, state_of, subject_of

_PORTS = {"ssl": 465, "starttls": 587, "none": 25}


def send_email(
    to: str | Sequence[str],
    subject: str,
    html_content: str,
    *,
    cc: str | Sequence[str] = (),
    bcc: str | Sequence[str] = (),
    from_email: str = "",
    conn_id: str = "smtp_default",
) -> None:
    """Sends a message; blocks until the server has it. Raises SpinnerException, smtplib.SMTPException, OSError."""
    smtp = connection(conn_id, "e-mail")
    extra = smtp.extra_dejson
    sender = from_email or extra.get("from_email") or smtp.login
    if not smtp.host or not sender:
        raise SpinnerException(f"Connection {conn_id!r} needs a host and, in extra, from_email.")
    encryption = extra.get("encryption") or ("starttls" if smtp.password else "none")
    if encryption not in _PORTS:
        raise SpinnerException(f"Connection {conn_id!r} has encryption={encryption!r}. Use {', '.join(_PORTS)}.")
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, ", ".join(addresses(to)), " ".join(subject.split())
    if cc:
        message["Cc"] = ", ".join(addresses(cc))
    message["Date"], message["Message-ID"] = formatdate(), make_msgid("spinner")
    message.set_content(_plain(html_content))
    message.add_alternative(html_content, subtype="html")
    timeout = float(extra.get("timeout") or 30)
    port = smtp.port or _PORTS[encryption]
    secure = ssl.create_default_context()
    if encryption == "ssl":
        client: smtplib.SMTP = smtplib.SMTP_SSL(smtp.host, port, timeout=timeout, context=secure)
    else:
        client = smtplib.SMTP(smtp.host, port, timeout=timeout)
    with client:
        if encryption == "starttls":
            client.starttls(context=secure)
        if smtp.login and smtp.password:
            client.login(smtp.login, smtp.password)
        client.send_message(message, sender, [*addresses(to), *addresses(cc), *addresses(bcc)])


def addresses(value: str | Sequence[str]) -> list[str]:
    """One address, several with commas or semicolons, or a list of them."""
    parts = [value] if isinstance(value, str) else list(value)
    return [part.strip() for text in parts for part in text.replace(";", ",").split(",") if part.strip()]


def _plain(text: str) -> str:
    import re

    text = re.sub(r"(?i)<br\s*/?>|</(p|tr|div|h[1-6]|li)>", "\n", text)
    return html.unescape(re.sub(r"<[^>]+>", " ", text)).strip() + "\n"


class EmailNotifier(BaseNotifier):
    """Without subject and text it says what ended how, why, and where to look."""

    template_fields: ClassVar[Sequence[str]] = ("to", "cc", "bcc", "subject", "html_content", "from_email")

    def __init__(
        self,
        to: str | Sequence[str],
        subject: str = "",
        html_content: str = "",
        *,
        cc: str | Sequence[str] = (),
        bcc: str | Sequence[str] = (),
        from_email: str = "",
        smtp_conn_id: str = "smtp_default",
    ) -> None:
        self.to, self.cc, self.bcc = to, cc, bcc
        self.subject, self.html_content = subject, html_content
        self.from_email = from_email
        self.smtp_conn_id = smtp_conn_id

    def notify(self, context: dict[str, Any]) -> None:
        subject = self.subject or f"Spinner: {subject_of(context)} {state_of(context)}"
        send_email(
            self.to, subject, self.html_content or _table(context), cc=self.cc, bcc=self.bcc,
            from_email=self.from_email, conn_id=self.smtp_conn_id,
        )  # fmt: skip


def _table(context: dict[str, Any]) -> str:
    rows = []
    for name, value in facts_of(context).items():
        if value in (None, ""):
            continue
        text = html.escape(str(value))
        if name == "url":
            text = f'<a href="{text}">{text}</a>'
        rows.append(f"<tr><th align='left'>{name.replace('_', ' ')}</th><td>{text}</td></tr>")
    return f"<table>{''.join(rows)}</table>"
