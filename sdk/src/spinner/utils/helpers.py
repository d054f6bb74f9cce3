"""Functions over tasks."""

from spinner.core.edges import chain, cross_downstream

__all__ = ["chain", "cross_downstream"]
