"""The event log: typed records, transactions and partition loops over Kafka, and their in-memory twin.

`kafka.KafkaLog` and `memory.MemoryLog` implement `interface.EventLog`; neither is imported here, so that importing a
type costs little.
"""

from spinner_eventlog.interface import (
    EventLog,
    Fenced,
    GroupConsumer,
    Outgoing,
    Poison,
    Producer,
    Reader,
    Record,
    RecordTooLarge,
    StateMachine,
    TopicPartition,
    TransactionalProducer,
    Transient,
    partition_for,
)

__all__ = [
    "EventLog",
    "Fenced",
    "GroupConsumer",
    "Outgoing",
    "Poison",
    "Producer",
    "Reader",
    "Record",
    "RecordTooLarge",
    "StateMachine",
    "TopicPartition",
    "TransactionalProducer",
    "Transient",
    "partition_for",
]
