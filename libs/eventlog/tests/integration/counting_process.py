"""A process with a partition loop, for tests that kill and pause it.

Numbers its inputs (the number is state, rebuilt from the outputs) and writes `<input>=<number>`. The input `die…` kills
the process between deciding and committing, `pause…` stops it there (SIGSTOP): once each, a file in the work folder
remembers.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from spinner_eventlog.interface import Outgoing, Record
from spinner_eventlog.kafka import KafkaLog
from spinner_eventlog.loop import PartitionLoop
from spinner_proto.inbox.v1.inbox_pb2 import DefinitionPublished, InboxMessage


class Counting:
    def __init__(self, log: KafkaLog, partition: int, name: str, folder: Path) -> None:
        self.log, self.partition, self.name, self.folder = log, partition, name, folder
        self.count = 0

    def restore(self) -> None:
        self.count = sum(1 for _ in self.log.read_all("events", self.partition))

    def handle(self, records: Sequence[Record], now: datetime) -> list[Outgoing]:
        outputs = []
        for record in records:
            text = record.decode(InboxMessage).definition_published.dag_id
            self.count += 1
            message = InboxMessage(definition_published=DefinitionPublished(dag_id=f"{text}={self.count}"))
            outputs.append(Outgoing("events", text, message, self.partition, {"by": self.name}))
            if text.startswith("die") and self.first(text):
                os.kill(os.getpid(), signal.SIGKILL)
            if text.startswith("pause") and self.first(text):
                os.kill(os.getpid(), signal.SIGSTOP)
        return outputs

    def first(self, text: str) -> bool:
        try:
            (self.folder / text).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def committed(self, offsets: Sequence[int]) -> None:
        (self.folder / f"{self.name}-commits").touch()

    def next_due(self) -> datetime | None:
        return None

    def needs_quiet(self) -> bool:
        return False


def main() -> None:
    bootstrap, prefix, name, folder = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format=f"{name} %(relativeCreated)d %(message)s")
    log = KafkaLog(bootstrap, name, prefix=prefix)
    loop = PartitionLoop(
        log,
        group_id="counting",
        input_topics=["inbox"],
        transactional_id_for=lambda topic, partition: f"counting-{partition}",
        machine_factory=lambda topic, partition: Counting(log, partition, name, Path(folder)),
        decode=InboxMessage,
        max_batch=20,
        overlap=True,
    )
    faulthandler.register(signal.SIGUSR1)
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    loop.run()
    log.close()


if __name__ == "__main__":
    main()
