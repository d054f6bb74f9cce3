"""Names of tries, their objects and what is derived from them; pure text."""

from __future__ import annotations

import hashlib
import uuid

from spinner_proto.common.v1.common_pb2 import TryKey

_NAMESPACE = uuid.UUID("6f0a4cc6-6c2f-5d0e-9a55-0d7f6c1f2b11")


def try_key_text(key: TryKey) -> str:
    """Returns "dag_id/run_id/task_id/map_index/try_number", the record key of orders, grants and log chunks."""
    return f"{key.dag_id}/{key.run_id}/{key.task_id}/{key.map_index}/{key.try_number}"


def try_key_of(text: str) -> TryKey:
    """The key that `try_key_text` made `text` of."""
    dag_id, run_id, task_id, map_index, try_number = text.split("/")
    return TryKey(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=int(map_index), try_number=int(try_number))


def folder_name(key_text: str) -> str:
    """A file name for a try: short, unique, safe on every file system."""
    return hashlib.blake2b(key_text.encode(), digest_size=12).hexdigest()


def log_object_key(key: TryKey) -> str:
    return f"logs/{key.dag_id}/{key.run_id}/{key.task_id}/{key.map_index}/{key.try_number}.log"


def xcom_prefix(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    return f"xcom/{dag_id}/{run_id}/{task_id}/{map_index}/"


def xcom_object_key(dag_id: str, run_id: str, task_id: str, map_index: int, key: str) -> str:
    return f"{xcom_prefix(dag_id, run_id, task_id, map_index)}{key}.json"


def triggered_request(key_text: str, segment: int, dag_id: str, run_id: str, conf: bytes) -> uuid.UUID:
    """The request id of a trigger: equal calls of one segment are one call, repeated because its answer was lost."""
    digest = hashlib.sha256(conf).hexdigest()
    return uuid.uuid5(_NAMESPACE, f"{key_text}\n{segment}\n{dag_id}\n{run_id}\n{digest}")


def reset_request(trigger: uuid.UUID) -> uuid.UUID:
    """The request id of the clear that follows when the run of a trigger exists already."""
    return uuid.uuid5(_NAMESPACE, f"{trigger}\nreset")
