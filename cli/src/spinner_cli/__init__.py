"""The spinner command."""
