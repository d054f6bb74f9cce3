"""A task that does nothing, to tie others together; it ends without a worker."""

from __future__ import annotations

from typing import ClassVar

from spinner.core.operator import BaseOperator, Context


class EmptyOperator(BaseOperator):
    """Does nothing."""

    ui_color = "#e8f7e4"
    inherits_from_empty_operator: ClassVar[bool] = True

    def execute(self, context: Context) -> None:
        """Does nothing."""


DummyOperator = EmptyOperator
