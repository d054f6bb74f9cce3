"""Names and labels of pods: readable, deterministic, and within Kubernetes' limits. Pure text.

A pod's name is `<dag>-<task>[-<map index>]-<try>[-s<segment>]-<hash>`, at most 63 characters of [a-z0-9-], so that it
is a DNS label and a label value, too. The readable part is cut; the hash alone makes the name: 120 bits of BLAKE2b over
the whole try key and the segment. Equal names mean the same segment of the same try (two different ones would collide
with a chance of 2^-120 a pair), so creating a pod twice is refused by the API server itself. Whoever finds a pod by its
name still compares the annotation that holds the full key, so even a collision could not mix two tries up.

(RFC 1123; https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/)
"""

from __future__ import annotations

import base64
import hashlib
import re

from spinner_proto.common.v1.common_pb2 import TryKey

PREFIX = "spinner.dev/"
CLUSTER, PARTITION, DAG, RUN, TASK, TRY = (
    PREFIX + name for name in ("cluster", "partition", "dag", "run", "task", "try")
)
# Annotations: the full values.
KEY, SEGMENT, LAUNCH = (PREFIX + name for name in ("key", "segment", "launch"))

MAX_LENGTH = 63
_HASH_LENGTH = 24
_LABEL_HASH_LENGTH = 10
_LABEL_VALUE = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")
_NOT_DNS = re.compile(r"[^a-z0-9]+")
_NOT_LABEL = re.compile(r"[^A-Za-z0-9_.-]+")


def digest(text: str, length: int) -> str:
    """The first `length` characters (5 bits each) of a BLAKE2b hash in lower-case base32."""
    raw = hashlib.blake2b(text.encode(), digest_size=20).digest()
    return base64.b32encode(raw).decode().lower()[:length]


def pod_name(key: TryKey, key_text: str, segment: int) -> str:
    """The one name of the pod of a segment of a try. `key_text`: the try key as text."""
    ending = f"-{key.map_index}" if key.map_index >= 0 else ""
    ending += f"-{key.try_number}" + (f"-s{segment}" if segment else "")
    ending += "-" + digest(f"{key_text}#{segment}", _HASH_LENGTH)
    room = MAX_LENGTH - len(ending)
    dag, task = (_NOT_DNS.sub("-", text.lower()).strip("-") for text in (key.dag_id, key.task_id))
    readable = f"{dag[: max(room // 2 - 1, room - 1 - len(task))].rstrip('-')}-{task}"[:room].strip("-")
    return (readable or "try") + ending


def label(text: str) -> str:
    """`text` as a label value: itself where it is one, otherwise its readable part and a hash of the whole."""
    if _LABEL_VALUE.match(text):
        return text
    if not text:
        return ""
    readable = _NOT_LABEL.sub("-", text)[: MAX_LENGTH - _LABEL_HASH_LENGTH - 1].strip("-_.")
    return f"{readable or 'x'}-{digest(text, _LABEL_HASH_LENGTH)}"


def labels(key: TryKey, cluster: str, partition: int) -> dict[str, str]:
    """What pods are selected by: the executor by cluster and partition, people by DAG, run, task and try."""
    return {
        CLUSTER: label(cluster),
        PARTITION: str(partition),
        DAG: label(key.dag_id),
        RUN: label(key.run_id),
        TASK: label(key.task_id),
        TRY: str(key.try_number),
    }


def marks(key_text: str, segment: int, launch: str) -> dict[str, str]:
    """What identifies a pod exactly. `launch`: random, one for each attempt to launch."""
    return {KEY: key_text, SEGMENT: str(segment), LAUNCH: launch}
