"""Connections and variables from wherever an installation keeps its secrets (C9)."""
