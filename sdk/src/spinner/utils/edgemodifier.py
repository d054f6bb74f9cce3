"""Labels on edges."""

from spinner.core.edges import EdgeModifier, Label

__all__ = ["EdgeModifier", "Label"]
