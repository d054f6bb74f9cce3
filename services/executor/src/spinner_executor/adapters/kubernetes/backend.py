"""The Kubernetes back end: a pod for each segment of a try.

- A pod's name is a function of the try and segment, so the API server itself refuses a second one.
- The grant is written when the worker asks for it, so "granted, but no such pod" proves that the pod has existed and
  was deleted by someone; "not granted" proves that no user code ran, and a pod of that name may be made again.
- A new owner fences the old one before it lists. What the old one creates afterwards appears in the watch as a pod
  that nobody here expects: it is deleted, and as it cannot be granted, it runs nothing.
- A pod is deleted only when its outcome is recorded (`remove`, `retire`, `sweep`), when its order is cancelled, or when
  it is declared lost; always by its uid, so a late call never hits the next pod of that name.
- A worker proves itself with the token of its pod (`tokens`), which names the pod's uid.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import math
import secrets
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.orders.v1.orders_pb2 import TaskOrder

from spinner_executor.adapters.backend import Launch, LaunchFailed, Observed, Unproven, WorkerEvents
from spinner_executor.adapters.kubernetes import causes, cluster
from spinner_executor.adapters.kubernetes.client import ApiFailure, Backoff, Client
from spinner_executor.adapters.kubernetes.deletions import Deletions
from spinner_executor.adapters.kubernetes.folders import TryFolders
from spinner_executor.adapters.kubernetes.pod import WORKER, PodSettings, build
from spinner_executor.adapters.kubernetes.tokens import Tokens
from spinner_executor.adapters.kubernetes.watch import PodWatch
from spinner_executor.domain import podnames, pods
from spinner_executor.domain.model import Exit, WorkerState

_log = logging.getLogger(__name__)
_TICK_SECONDS = 1.0
_FORCE_SECONDS = 1
_ACCOUNT_SECONDS = 10.0
# A call that fails for so long, and what a pod waits for this long, are worth a word to the user; what every pod waits
# for only when it takes longer.
_TELL_AFTER_SECONDS = 3.0
_TELL_PENDING_SECONDS = 1.0
_TELL_USUAL_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Limits:
    """`pending_seconds`: how long a pod may wait to run; `image_seconds`: for its image or its configuration."""

    pending_seconds: float = 1800.0
    image_seconds: float = 300.0
    resync_seconds: float = 600.0


@dataclass(slots=True)
class _Worker:
    """A worker that is expected: launched here or observed."""

    key: str
    segment: int
    partition: int
    name: str
    since: float
    nonce: str = ""
    # Its pod's uid, and a hash of the token that proved to be this pod's.
    uid: str = ""
    proof: bytes = b""
    told_running: bool = False
    reason: str = ""
    reason_since: float = 0.0
    told_reason: str = ""
    waiting_since: float = 0.0
    waiting_outcome: Outcome.ValueType = Outcome.OUTCOME_UNSPECIFIED
    # Set when it is to end: what waits for room stops waiting.
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    exited: bool = False
    # Its pod may still say who killed it.
    doubted: bool = False


class KubernetesBackend:
    """`partition_of(key)`: a try's order partition."""

    name = "kubernetes"
    starts_at_once = False
    shares_files = False
    parallelism = 10_000

    def __init__(
        self,
        client: Client,
        settings: PodSettings,
        limits: Limits,
        data: Path,
        partition_of: Callable[[str], int],
        pool: Executor,
    ) -> None:
        self._client = client
        self._settings = settings
        self._limits = limits
        self._folders = TryFolders(data, partition_of, pool)
        self._pods_path = f"/api/v1/namespaces/{settings.namespace}/pods"
        self._watches: dict[int, PodWatch] = {}
        self._workers: dict[str, _Worker] = {}
        self._of_key: dict[str, set[str]] = {}
        self._deletions = Deletions(client, self._pods_path)
        self._nodes = cluster.Nodes(client)
        self._tokens = Tokens(client, settings.namespace, settings.cluster)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._opening: dict[int, PodWatch] = {}
        self._quota_turn = asyncio.Lock()
        self._at_quota: _Worker | None = None
        # Partitions whose tries are all observed: what else appears there is nobody's.
        self._adopted: set[int] = set()

    # Names and tokens.

    def worker_name(self, order: TaskOrder, key: str) -> str:
        return podnames.pod_name(order.try_key, key, order.segment)

    def token(self, worker: str, partition: int) -> str:
        return ""

    def claimed(self, token: str) -> tuple[str, int]:
        claim = self._tokens.claim(token)
        return ("", -1) if claim is None else (claim.pod, claim.partition)

    def proves(self, token: str, worker: str, expected: str) -> bool:
        known, claim = self._workers.get(worker), self._tokens.claim(token)
        if known is None or claim is None or (claim.pod, claim.partition) != (worker, known.partition):
            return False
        proof = hashlib.blake2b(token.encode(), digest_size=16).digest()
        if known.proof != proof:
            if not known.uid:
                raise Unproven(f"pod {worker} is not known here yet")
            if claim.uid != known.uid or not self._tokens.is_genuine(token):
                return False
            known.proof = proof
        return True

    # Life.

    async def start(self, events: WorkerEvents) -> None:
        self._events = events
        self._settings = await cluster.prepare(self._client, self._settings)
        await self._tokens.open()
        self._spawn(self._tick())

    def _spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of the Kubernetes back end failed", exc_info=error)

    async def close(self, stop_workers: bool) -> None:
        for watch in [*self._watches.values(), *self._opening.values()]:
            watch.close()
        if stop_workers:
            for watch in self._watches.values():
                for pod in watch.pods.values():
                    self._deletions.add(pod.name, pod.uid, _FORCE_SECONDS)
            await self._deletions.drain(10.0)
        self._deletions.close()
        for task in list(self._tasks):
            task.cancel()
        await self._client.close()

    # Partitions.

    async def open(self, partition: int) -> None:
        self.release(partition)
        watch = PodWatch(
            self._client, self._settings.namespace, self._settings.cluster, partition, self._limits.resync_seconds,
            functools.partial(self._changed, partition), self._gone,
        )  # fmt: skip
        self._opening[partition] = watch
        await watch.open()
        if self._opening.pop(partition, None) is watch:
            self._watches[partition] = watch
        else:
            watch.close()

    def release(self, partition: int) -> None:
        self._opening.pop(partition, None)
        self._adopted.discard(partition)
        watch = self._watches.pop(partition, None)
        if watch is None:
            return
        watch.close()
        for worker in [worker for worker in self._workers.values() if worker.partition == partition]:
            self._forget(worker)

    def sweep(self, partition: int, live: Collection[str]) -> list[str]:
        self._folders.sweep(partition, live)
        self._adopted.add(partition)
        watch = self._watches.get(partition)
        for pod in list(watch.pods.values()) if watch is not None else ():
            self._changed(partition, pod)
        return []

    # Workers.

    def _expect(self, key: str, segment: int, partition: int, name: str) -> _Worker:
        worker = _Worker(key, segment, partition, name, asyncio.get_running_loop().time())
        self._workers[name] = worker
        self._of_key.setdefault(key, set()).add(name)
        return worker

    def _forget(self, worker: _Worker) -> None:
        if self._workers.get(worker.name) is worker:
            del self._workers[worker.name]
        names = self._of_key.get(worker.key)
        if names is not None:
            names.discard(worker.name)
            if not names:
                del self._of_key[worker.key]

    def _pod(self, worker: _Worker) -> pods.Pod | None:
        watch = self._watches.get(worker.partition)
        return watch.pods.get(worker.name) if watch is not None else None

    async def launch(self, launch: Launch) -> None:
        self.retire(launch.key, launch.segment)
        worker = self._expect(launch.key, launch.segment, launch.partition, launch.worker)
        worker.nonce = secrets.token_hex(8)
        try:
            try:
                await self._create(worker, build(launch, worker.nonce, self._settings))
            finally:
                self._leave_quota(worker)
        except LaunchFailed:
            self._forget(worker)  # the next tick removes what was made of it
            raise

    async def _create(self, worker: _Worker, manifest: dict[str, Any]) -> None:
        """Creates a worker's pod, again and again while that may help. Raises LaunchFailed.

        An attempt without an answer may have succeeded: the watch tells, and its pod may even be over and gone by now.
        """
        loop, backoff = asyncio.get_running_loop(), Backoff()
        begun = loop.time()
        while not worker.uid:
            if self._workers.get(worker.name) is not worker:
                raise LaunchFailed("the partition was given up, or the pod is over already")
            try:
                created = await self._client.call("POST", self._pods_path, manifest, metadata_only=True)
                worker.uid = created["metadata"]["uid"]
                return
            except ApiFailure as error:
                failure = error
            if failure.status == 409 and failure.reason == "AlreadyExists":
                if await self._is_there(worker):
                    return
            elif _is_quota(failure):
                self._note_pending(worker, failure.message)
            elif not failure.passing and not (_lacks_account(failure) and loop.time() - begun < _ACCOUNT_SECONDS):
                raise LaunchFailed(_refusal(failure), Outcome.OUTCOME_CONFIG_ERROR)
            elif loop.time() - begun > _TELL_AFTER_SECONDS:
                self._note_pending(worker, failure.message)
            if worker.stopped.is_set():
                raise LaunchFailed("it was cancelled before its pod was made")
            if loop.time() - begun > self._limits.pending_seconds:
                raise LaunchFailed(_refusal(failure), Outcome.OUTCOME_NEVER_SCHEDULED)
            if _is_quota(failure) and self._at_quota is not worker:
                left = self._limits.pending_seconds - (loop.time() - begun)
                await self._wait_for_room(worker, left)
            else:
                await asyncio.sleep(backoff.pause(failure.retry_after))

    async def _wait_for_room(self, worker: _Worker, seconds: float) -> None:
        """Returns when it is this worker's turn to try again: one at a time asks a full quota, in order."""
        turn = asyncio.ensure_future(self._quota_turn.acquire())
        stopped = asyncio.ensure_future(worker.stopped.wait())
        try:
            await asyncio.wait({turn, stopped}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if not turn.done():
                turn.cancel()
        if turn.done() and not turn.cancelled():
            self._at_quota = worker

    def _leave_quota(self, worker: _Worker) -> None:
        if self._at_quota is worker:
            self._at_quota = None
            self._quota_turn.release()

    async def _is_there(self, worker: _Worker) -> bool:
        """What stands in the way of a create: our own earlier attempt has succeeded; anything else is removed."""
        try:
            pod = pods.read(await self._client.call("GET", f"{self._pods_path}/{worker.name}"))
        except ApiFailure:
            return False
        if pod.launch == worker.nonce:
            worker.uid = pod.uid
            return True
        if pod.key and pod.key != worker.key:
            raise LaunchFailed(f"pod {pod.name} belongs to another try, {pod.key}", Outcome.OUTCOME_CONFIG_ERROR)
        if not pod.deleting:
            _log.info("pod %s is left from an earlier launch: it is removed first", pod.name)
            self._deletions.add(pod.name, pod.uid, _FORCE_SECONDS)
        return False

    def observe(self, key: str, order: TaskOrder, granted: str) -> Observed:
        partition = self._folders.partition_of(key)
        watch = self._watches.get(partition)
        mine = watch.of_key(key) if watch is not None else []
        name = self.worker_name(order, key)
        pod = next((pod for pod in mine if pod.name == name), None)
        if pod is None:
            for old in mine:
                if old.segment > order.segment:  # the order's own past cannot be ahead of it
                    continue
                self._expect(key, old.segment, partition, old.name).exited = True
            if granted == name:
                return Observed(WorkerState.GONE, name, order.segment, exit=pods.vanished(None))
            return Observed(WorkerState.NONE)
        for old in mine:
            if old is not pod:
                self._expect(key, old.segment, partition, old.name).exited = True
        worker = self._expect(key, pod.segment, partition, name)
        worker.nonce, worker.uid = pod.launch, pod.uid
        worker.since -= _age_seconds(pod)
        if pod.exit is not None and not pod.unexplained:
            worker.exited = True
            return Observed(WorkerState.GONE, name, pod.segment, exit=pod.exit)
        worker.told_running = pod.phase is not pods.Phase.WAITING
        return Observed(WorkerState.ALIVE, name, pod.segment, starting=not worker.told_running)

    def end_leftovers(self, key: str, worker: str) -> None:
        """A container takes its processes along."""

    def stop(self, key: str, worker: str, force: bool, grace_seconds: float = 0.0) -> None:
        expected = self._workers.get(worker)
        if expected is None:
            return
        expected.stopped.set()
        pod = self._pod(expected)
        if pod is not None:
            self._deletions.add(worker, pod.uid, _FORCE_SECONDS if force else max(1, math.ceil(grace_seconds)))

    def retire(self, key: str, segment: int) -> None:
        for name in list(self._of_key.get(key, ())):
            worker = self._workers[name]
            if worker.segment < segment:
                self._let_go(worker)

    def remove(self, key: str) -> None:
        for name in list(self._of_key.get(key, ())):
            self._let_go(self._workers[name])
        self._folders.discard(key)

    def _let_go(self, worker: _Worker) -> None:
        pod = self._pod(worker)
        self._forget(worker)
        if pod is not None:
            self._deletions.add(pod.name, pod.uid, _FORCE_SECONDS)

    def log_path(self, key: str) -> Path:
        return self._folders.folder(key) / "log"

    async def read_log(self, worker: str) -> AsyncIterator[bytes]:
        try:
            async for piece in self._client.stream(f"{self._pods_path}/{worker}/log", {"container": WORKER}):
                yield piece
        except ApiFailure as failure:
            _log.info("the log of pod %s cannot be read from its node: %s", worker, failure)

    def disruption(self, worker: str) -> Exit | None:
        expected = self._workers.get(worker)
        pod = self._pod(expected) if expected is not None and not expected.stopped.is_set() else None
        return None if pod is None else pod.disruption

    async def why_taken(self, worker: str) -> Exit | None:
        def pod() -> pods.Pod | None:
            expected = self._workers.get(worker)
            return self._pod(expected) if expected is not None and not expected.stopped.is_set() else None

        return await causes.why_taken(pod)

    async def why_lost(self, worker: str) -> Exit | None:
        expected = self._workers.get(worker)
        pod = self._pod(expected) if expected is not None else None
        if pod is None or not pod.node:
            return None
        condition = await self._nodes.trouble(pod.node)
        return None if condition is None else pods.node_lost(pod.node, condition)

    async def why_crashed(self, worker: str) -> Exit | None:
        return await causes.why_crashed(self._client, f"{self._pods_path}/{worker}")

    # What the watches tell.

    def _changed(self, partition: int, pod: pods.Pod) -> None:
        worker = self._workers.get(pod.name)
        if worker is None:
            if partition in self._adopted:
                self._deletions.add(pod.name, pod.uid, _FORCE_SECONDS)
            return
        if worker.exited or (worker.nonce and pod.launch != worker.nonce):
            return
        worker.uid = pod.uid
        if worker.stopped.is_set() and not pod.deleting:
            self._deletions.add(pod.name, pod.uid, self._settings.kill_grace_seconds)
        if pod.exit is not None and not pod.unexplained:
            self._tell_exit(worker, pod.exit)
        elif pod.unexplained:
            if not worker.doubted:
                worker.doubted = True
                asyncio.get_running_loop().call_later(causes.KUBELET_SECONDS, self._end_doubt, worker)
        elif pod.phase is pods.Phase.RUNNING:
            if not worker.told_running:
                worker.told_running = True
                self._events.running(worker.key, worker.name)
        else:
            if pod.waiting_outcome != worker.waiting_outcome:
                worker.waiting_outcome = pod.waiting_outcome
                worker.waiting_since = asyncio.get_running_loop().time()
            self._note_pending(worker, pod.waiting)
            if pod.hopeless:
                self._give_up(worker, pod)

    def _gone(self, pod: pods.Pod) -> None:
        self._deletions.gone(pod.uid)
        worker = self._workers.get(pod.name)
        if worker is not None and not worker.exited and (not worker.nonce or pod.launch == worker.nonce):
            self._tell_exit(worker, pods.vanished(pod))

    def _end_doubt(self, worker: _Worker) -> None:
        pod = self._pod(worker)
        if self._workers.get(worker.name) is worker and not worker.exited and pod is not None and pod.exit is not None:
            self._tell_exit(worker, pod.exit)

    def _tell_exit(self, worker: _Worker, exit: Exit) -> None:
        worker.exited = True
        self._events.exited(worker.key, worker.name, exit)

    def _note_pending(self, worker: _Worker, reason: str) -> None:
        if reason and reason != worker.reason:
            worker.reason, worker.reason_since = reason, asyncio.get_running_loop().time()

    def _tell_pending(self, worker: _Worker, now: float) -> None:
        """Says what a worker waits for, once it has waited for that."""
        usual = worker.reason in (pods.PREPARED, pods.SCHEDULED)
        wait = _TELL_USUAL_SECONDS if usual else _TELL_PENDING_SECONDS
        if worker.reason != worker.told_reason and now - worker.reason_since >= wait:
            worker.told_reason = worker.reason
            self._events.pending(worker.key, worker.name, worker.reason)

    async def _tick(self) -> None:
        """Waiting pods, with their reasons and deadlines, and pods that nobody expects."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = asyncio.get_running_loop().time()
            for partition in self._adopted & self._watches.keys():
                for stray in self._watches[partition].pods.values():
                    if stray.name not in self._workers:
                        self._deletions.add(stray.name, stray.uid, _FORCE_SECONDS)
            for worker in list(self._workers.values()):
                if worker.exited or worker.told_running:
                    continue
                self._tell_pending(worker, now)
                pod = self._pod(worker)
                if pod is None or pod.phase is not pods.Phase.WAITING:
                    continue
                image = worker.waiting_outcome in (
                    Outcome.OUTCOME_IMAGE_PULL_FAILED,
                    Outcome.OUTCOME_CONFIG_ERROR,
                )
                if now - worker.since > self._limits.pending_seconds or (
                    image and now - worker.waiting_since > self._limits.image_seconds
                ):
                    self._give_up(worker, pod)

    def _give_up(self, worker: _Worker, pod: pods.Pod) -> None:
        waited = asyncio.get_running_loop().time() - worker.since
        message = f"The pod did not run within {waited:.0f} s: {pod.waiting}"
        self._tell_exit(worker, Exit(outcome=pod.waiting_outcome, message=message))


def _age_seconds(pod: pods.Pod) -> float:
    try:
        created = datetime.fromisoformat(pod.created)
    except ValueError:
        return 0.0
    return max(0.0, (datetime.now(UTC) - created).total_seconds())


def _is_quota(failure: ApiFailure) -> bool:
    return failure.status == 403 and "exceeded quota" in failure.message


def _lacks_account(failure: ApiFailure) -> bool:
    """A namespace's service accounts are made a moment after the namespace."""
    return failure.status == 403 and "error looking up service account" in failure.message


def _refusal(failure: ApiFailure) -> str:
    return f"Kubernetes refused the pod: {failure.message or failure.reason or failure.status}"
