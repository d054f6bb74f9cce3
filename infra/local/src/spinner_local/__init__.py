"""The embedded stack on one machine: Kafka, the six services, their supervision.

Everything lives below one *home* (`.spinner` at the repository's root, or SPINNER_HOME): data, logs, ports and
the secret key. A home holds one stack; several homes run side by side. supervisord restarts what crashes;
`up` and `down` may be repeated at any time and after any crash.
"""
