"""Bounded parsing and checking of DAG files."""
