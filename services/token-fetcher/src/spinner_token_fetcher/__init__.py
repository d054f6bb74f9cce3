"""Hosts the parser of the legacy system Pinball."""
