"""The one place that says who is asking and whether they may.

Every endpoint depends on `Caller` from here, and every action passes `Access.act`, which also writes the audit
event: accepted, rejected by the scheduler or the gateway, or denied. Until sign-in exists there is one development
user, by setting; without it nobody is let in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request

from spinner_webgateway.adapters.audit import AuditTrail
from spinner_webgateway.domain.problems import ProblemError
from spinner_webgateway.domain.who import Caller

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Action:
    """One action under way: what the audit trail will say of it."""

    def __init__(self, details: dict[str, Any], request_id: str) -> None:
        self.details = details
        self.request_id = request_id


class Access:
    """Knows callers and their rights, and records what they do. Thread-safe."""

    def __init__(self, development_user: str, audit: AuditTrail) -> None:
        self._development_user = development_user
        self._audit = audit

    def caller(self, via: str) -> Caller:
        """Returns who is asking; raises the 401 problem."""
        if not self._development_user:
            raise ProblemError(
                401,
                "SIGN_IN_REQUIRED",
                "Nobody is signed in, and this installation has no way to sign in yet.",
                "On your own machine, start the gateway with SPINNER_DEVELOPMENT_USER=<name>.",
            )
        return Caller(f"user:{self._development_user}", ("admin",), via, development=True)

    def may(self, caller: Caller, action: str, subject: str) -> bool:
        """Tells whether the caller may do this. The development user may do everything."""
        return caller.development

    def check(self, caller: Caller, action: str, subject: str) -> None:
        """Raises the 403 problem, after writing the audit event, when the caller may not."""
        if not self.may(caller, action, subject):
            self._audit.write(caller, action, subject, "denied", {}, "")
            raise ProblemError(
                403,
                "NOT_ALLOWED",
                f"{caller.name} may not do {action} on {subject}.",
                "Ask an owner of the DAG for a role that has this permission.",
            )

    @contextmanager
    def act(self, caller: Caller, action: str, subject: str, request_id: str = "", **details: Any) -> Iterator[Action]:
        """Runs an action if the caller may, and writes its audit event with how it ended."""
        self.check(caller, action, subject)
        under_way = Action(details, request_id)
        try:
            yield under_way
        except ProblemError as problem:
            under_way.details["problem"] = {"code": problem.code, "message": problem.message}
            result = "accepted" if problem.code == "ANSWER_PENDING" else "rejected"
            self._audit.write(caller, action, subject, result, under_way.details, under_way.request_id)
            raise
        self._audit.write(caller, action, subject, "accepted", under_way.details, under_way.request_id)


async def caller_of(request: Request) -> Caller:
    """Dependency of every endpoint: who is asking by HTTP. Raises 401, and 403 for another site's page.

    Not a plain function, which would wait for a thread of its own on every request.
    """
    access: Access = request.app.state.gateway.access
    _refuse_other_sites(request)
    client = request.headers.get("x-spinner-client", "")
    return access.caller(client if client in ("ui", "cli") else "rest")


def _refuse_other_sites(request: Request) -> None:
    """A browser sends the development user's requests for any page that asks: changes are for our own page only."""
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("sec-fetch-site", "")
    origin = request.headers.get("origin", "")
    foreign = bool(origin) and urlsplit(origin).netloc != request.headers.get("host", "")
    if site == "cross-site" or (foreign and site != "same-origin" and not _local(origin)):
        raise ProblemError(
            403,
            "OTHER_SITE",
            f"The page {origin or 'of another site'} may not change anything here.",
            "Use the page that this gateway serves.",
        )


def _local(origin: str) -> bool:
    """The UI's development server has another port of the same machine."""
    return urlsplit(origin).hostname in ("localhost", "127.0.0.1", "::1")


CallerDependency = Annotated[Caller, Depends(caller_of)]
