"""Tasks that ask a person. While they wait they need no worker; the answer may come from the UI, REST, gRPC or the CLI.

The first segment renders the question and ends. The scheduler keeps it, takes the first answer or, when its time is
over, the defaults, and queues the next segment, which returns what was decided.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from spinner.core.operator import BaseOperator, Context
from spinner.core.params import ParamsDict
from spinner.exceptions import DecisionNeeded, FailTask, SpinnerDagError, SpinnerException
from spinner.operators.branch import skip_all_except

_log = logging.getLogger(__name__)
BODY_LIMIT = 64 * 1024


class DecisionTimeout(SpinnerException):
    """Nobody decided in time, and there is no default."""


class HITLOperator(BaseOperator):
    """Asks a person to choose from ``options``, and returns ``{"chosen_options": […], "params_input": {…}, …}``.

    ``subject`` is one line and ``body`` Markdown; both are templates. ``params`` is a form beside the options: names
    to ``Param`` or default values. ``assigned_users`` may decide; without any, everyone who may act on the DAG.
    After ``response_timeout`` the ``defaults`` are taken; without defaults the try fails then.
    """

    template_fields: Sequence[str] = ("subject", "body")
    kind: ClassVar[str] = "choice"

    def __init__(
        self,
        *,
        subject: str,
        options: Iterable[str],
        body: str = "",
        defaults: str | Iterable[str] | None = None,
        multiple: bool = False,
        params: Mapping[str, Any] | None = None,
        assigned_users: str | Iterable[str] | None = None,
        response_timeout: timedelta | float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.subject = subject
        self.body = body
        self.options = list(options)
        self.defaults = [defaults] if isinstance(defaults, str) else list(defaults or ())
        self.multiple = multiple
        self.form = ParamsDict(params)
        self.assigned_users = [assigned_users] if isinstance(assigned_users, str) else list(assigned_users or ())
        self.response_timeout = (
            timedelta(seconds=response_timeout) if isinstance(response_timeout, int | float) else response_timeout
        )
        self._check_options()

    def _check_options(self) -> None:
        name = f"{type(self).__name__} {self.task_id!r}"
        if not self.options or len(set(self.options)) != len(self.options):
            raise SpinnerDagError(f"{name} has options {self.options!r}.", "Give at least one, each once.")
        unknown = [option for option in self.defaults if option not in self.options]
        if unknown:
            raise SpinnerDagError(
                f"{name} has the default {unknown[0]!r}, which is none of its options.",
                f"Choose from {', '.join(self.options)}.",
            )
        if len(self.defaults) > 1 and not self.multiple:
            raise SpinnerDagError(f"{name} has {len(self.defaults)} defaults.", "Give one, or multiple=True.")

    def execute(self, context: Context) -> Any:
        raise DecisionNeeded(
            kind=self.kind,
            subject=str(self.subject),
            body=str(self.body or "")[:BODY_LIMIT],
            options=self.options,
            defaults=self.defaults,
            multiple=self.multiple,
            params=self.form.dump(),
            assignees=self.assigned_users,
            timeout=self.response_timeout,
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Takes the answer, checks the form, and returns both. Called in the next segment."""
        given = event.get("params_input") or {}
        unknown = [name for name in given if name not in self.form]
        if unknown:
            raise FailTask(f"The form of {self.task_id} has no field {unknown[0]!r}.")
        values = self.form.with_conf(given)
        chosen = list(event.get("chosen_options") or ())
        who = event.get("decided_by") or "nobody in time: the default"
        _log.info("Decided by %s: %s", who, ", ".join(chosen) or "(no option)")
        return {
            "chosen_options": chosen,
            "params_input": values,
            "responded_by": event.get("decided_by") or "",
            "responded_at": event.get("decided_time"),
            "timed_out": bool(event.get("timed_out")),
            "note": event.get("note") or "",
        }

    def resume_failed(self, error: SpinnerException) -> SpinnerException:
        """The error of the try when nobody decided."""
        return DecisionTimeout(f"Nobody decided within {self.response_timeout}, and there is no default.")


class ApprovalOperator(HITLOperator):
    """Asks for approval. After a rejection what is behind is skipped, or the task fails (``fail_on_reject``).

    With ``ignore_downstream_trigger_rules`` everything behind is skipped; without, only the tasks directly behind.
    """

    APPROVE = "Approve"
    REJECT = "Reject"
    is_branch: ClassVar[bool] = True
    kind: ClassVar[str] = "approval"

    def __init__(
        self, *, ignore_downstream_trigger_rules: bool = False, fail_on_reject: bool = False, **kwargs: Any
    ) -> None:
        for name in ("options", "multiple"):
            if name in kwargs:
                raise SpinnerDagError(
                    f"{type(self).__name__} takes no {name}: its options are Approve and Reject.",
                    "Use HITLOperator for other options.",
                )
        super().__init__(options=[self.APPROVE, self.REJECT], **kwargs)
        self.ignore_downstream_trigger_rules = ignore_downstream_trigger_rules
        self.fail_on_reject = fail_on_reject

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        result = super().execute_complete(context, event)
        if self.fail_on_reject and self.REJECT in result["chosen_options"]:
            raise FailTask(f"Rejected by {result['responded_by'] or 'its time-out'}.")
        return result

    def skip_after(self, context: Context, result: Any) -> list[str] | None:
        if self.REJECT not in result["chosen_options"]:
            return []
        behind = self.get_flat_relatives() if self.ignore_downstream_trigger_rules else self.downstream_list
        return [task.task_id for task in behind if not task.is_teardown]


class HITLBranchOperator(HITLOperator):
    """Asks where to go on: the options are ids of the tasks directly behind, or map to them by ``options_mapping``."""

    is_branch: ClassVar[bool] = True
    kind: ClassVar[str] = "branch"

    def __init__(self, *, options_mapping: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        self.options_mapping = dict(options_mapping or {})
        if self.options_mapping and "options" not in kwargs:
            kwargs["options"] = list(self.options_mapping)
        super().__init__(**kwargs)

    def skip_after(self, context: Context, result: Any) -> list[str] | None:
        return skip_all_except(self, [self.options_mapping.get(name, name) for name in result["chosen_options"]])


class HITLEntryOperator(HITLOperator):
    """Asks for the values of a form."""

    kind: ClassVar[str] = "entry"

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("options", ["OK"])
        super().__init__(**kwargs)


HumanInTheLoopOperator = HITLOperator
