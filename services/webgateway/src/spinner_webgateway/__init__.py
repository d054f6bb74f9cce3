"""Views, REST, SSE and gRPC over the event log, and the web UI."""
