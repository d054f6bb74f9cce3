"""The embedded stack on one machine: Kafka, the services, their supervision."""
