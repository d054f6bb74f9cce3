"""Weight rules."""

from spinner.core.names import WeightRule

__all__ = ["WeightRule"]
