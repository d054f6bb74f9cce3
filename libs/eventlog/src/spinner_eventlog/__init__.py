"""The event log: typed records, transactions and partition loops over Kafka, and their in-memory twin."""
