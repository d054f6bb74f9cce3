"""Objects in a bucket of S3 or of a server that speaks it (boto3, signature version 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from spinner_objectstore.interface import AlreadyExists, NotFound, Stat, Unavailable, checked

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_TAKEN = frozenset({"412", "PreconditionFailed", "409", "ConditionalRequestConflict"})


class S3Store:
    """ObjectStore under `prefix` of `bucket`. Keys and region come from boto3's usual places (AWS_… variables)."""

    def __init__(self, bucket: str, prefix: str = "", endpoint: str | None = None) -> None:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._refused = ClientError
        self._failed = BotoCoreError
        config = Config(
            signature_version="s3v4",
            max_pool_connections=32,
            connect_timeout=5,
            read_timeout=30,
            retries={"max_attempts": 4, "mode": "standard"},
            s3={"addressing_style": "path"} if endpoint else {},
        )
        self._client: S3Client = boto3.client("s3", endpoint_url=endpoint or None, config=config)

    def put(self, key: str, content: bytes | Path, if_none_match: bool = False) -> None:
        name = self._name(key)
        if isinstance(content, Path) and not if_none_match:
            self._call(key, lambda: self._client.upload_file(str(content), self._bucket, name))
            return
        body = content.read_bytes() if isinstance(content, Path) else content
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_none_match else {}
        self._call(key, lambda: self._client.put_object(Bucket=self._bucket, Key=name, Body=body, **condition))

    def put_file(self, key: str, path: Path) -> None:
        self.put(key, path)

    def get(self, key: str) -> bytes:
        with self.open(key) as stream:
            return stream.read()

    def get_range(self, key: str, start: int, end: int | None = None) -> bytes:
        if end is not None and end <= start:
            self.stat(key)
            return b""
        wanted = f"bytes={start}-" if end is None else f"bytes={start}-{end - 1}"

        def fetch() -> bytes:
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._name(key), Range=wanted)
            except self._refused as error:
                if _code(error) in ("416", "InvalidRange"):  # starts past the end
                    return b""
                raise
            return answer["Body"].read()

        return self._call(key, fetch)

    def open(self, key: str) -> BinaryIO:
        answer = self._call(key, lambda: self._client.get_object(Bucket=self._bucket, Key=self._name(key)))
        return cast(BinaryIO, answer["Body"])

    def stat(self, key: str) -> Stat:
        found = self._call(key, lambda: self._client.head_object(Bucket=self._bucket, Key=self._name(key)))
        return Stat(key, found["ContentLength"], found["LastModified"], found["ETag"].strip('"'))

    def exists(self, key: str) -> bool:
        try:
            self.stat(key)
        except NotFound:
            return False
        return True

    def download_url(self, key: str, seconds: int) -> str | None:
        where = {"Bucket": self._bucket, "Key": self._name(key)}
        return self._client.generate_presigned_url("get_object", Params=where, ExpiresIn=seconds)

    def list(self, prefix: str = "") -> Iterator[Stat]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        iterator = iter(pages)
        while (page := self._call(prefix, lambda: next(iterator, None))) is not None:
            for found in page.get("Contents", ()):
                key = found["Key"][len(self._prefix) :]
                yield Stat(key, found["Size"], found["LastModified"], found["ETag"].strip('"'))

    def delete(self, key: str) -> None:
        self._call(key, lambda: self._client.delete_object(Bucket=self._bucket, Key=self._name(key)))

    def delete_prefix(self, prefix: str) -> int:
        if not prefix:
            raise ValueError("an empty prefix would delete the whole store")
        keys = [stat.key for stat in self.list(prefix)]
        for start in range(0, len(keys), 1000):
            objects = [{"Key": self._prefix + key} for key in keys[start : start + 1000]]
            answer = self._call(
                prefix,
                lambda objects=objects: self._client.delete_objects(  # type: ignore[misc]
                    Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True}
                ),
            )
            if answer.get("Errors"):
                raise Unavailable(f"{self.url}: deleting {prefix}: {answer['Errors'][0].get('Message')}")
        return len(keys)

    def make_bucket(self) -> None:
        """Idempotent; for tests and local stacks."""
        try:
            self._client.create_bucket(Bucket=self._bucket)
        except self._refused as error:
            if _code(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise Unavailable(f"{self.url}: making the bucket: {error}") from error

    def _name(self, key: str) -> str:
        return self._prefix + checked(key)

    def _call(self, key: str, call: Callable[[], T]) -> T:
        from boto3.exceptions import S3UploadFailedError

        try:
            return call()
        except self._refused as error:
            code = _code(error)
            if code in _MISSING:
                raise NotFound(f"no object {key} in {self.url}") from None
            if code in _TAKEN:
                raise AlreadyExists(key) from None
            raise Unavailable(f"{self.url}, {key}: {error}") from error
        except (self._failed, S3UploadFailedError) as error:
            raise Unavailable(f"{self.url}, {key}: {error}") from error


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
