"""The contracts of every topic and service, generated."""
