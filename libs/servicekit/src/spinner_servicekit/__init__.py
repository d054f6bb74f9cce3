"""What every service is built from: settings, logs, metrics, traces, gRPC bootstrap, life cycle."""
