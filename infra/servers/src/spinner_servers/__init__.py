"""Starts the real servers that Spinner stands on, from package registries alone."""
