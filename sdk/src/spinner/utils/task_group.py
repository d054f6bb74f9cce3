"""Task groups."""

from spinner.core.group import TaskGroup

__all__ = ["TaskGroup"]
