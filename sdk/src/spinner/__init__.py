"""Spinner SDK: what a workflow author imports and what runs in the worker."""
