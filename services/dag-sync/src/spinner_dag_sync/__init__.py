"""Turns DAG bundles into definitions."""
