"""Objects in a bucket. Whatever may pass is tried again, the request and its body alike."""

import functools
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import boto3
import botocore.session
from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import IncompleteReadError, ReadTimeoutError
from botocore.loaders import create_loader

from surgrec.errors import StorageError
from surgrec.storage.failures import CHANGED, until_deadline
from surgrec.storage.presigned import PresignedGets
from surgrec.storage.retry import RetryPolicy
from surgrec.storage.store import TEMPORARY, Store, check_name, check_range

CHECK_DEADLINE_S = 20.0
"""How long `check_writable` waits for a store that does not answer."""
PART_ATTEMPTS = 6
"""Tries that botocore gives each part of an upload before the whole upload begins again."""
CONNECTIONS = 64
ANONYMOUS = "anonymous"
"""The profile of requests that nobody signs, for public buckets."""
SLOWEST = 1024.0
"""Bytes per second below which a connection counts as dead."""
CHUNK_BYTES = 1 << 16
"""What is read at once, so the most that a broken connection costs; smaller or bigger is no faster."""

ResultType = TypeVar("ResultType")

_making_client = threading.Lock()
# A fork waits for a client in the making: a child must not inherit a lock whose holder it lacks.
os.register_at_fork(
    before=_making_client.acquire,
    after_in_parent=_making_client.release,
    after_in_child=_making_client.release,
)


class S3Store(Store):
    """A bucket, or what lies below a prefix of it. The address may say as whom: `s3://profile@bucket/prefix`."""

    def __init__(self, address: str, policy: RetryPolicy) -> None:
        super().__init__(address.rstrip("/"))
        self.policy = policy
        place, _, self.prefix = self.address.removeprefix("s3://").partition("/")
        self.profile, _, self.bucket = place.rpartition("@")
        if not self.address.startswith("s3://") or not self.bucket:
            raise StorageError(f"{address!r} names no bucket; give s3://bucket/prefix")
        if self.prefix:
            check_name(self.prefix, f"s3://{self.bucket}")
        self._clients: dict[tuple[int, int], tuple[Any, PresignedGets]] = {}

    def __reduce__(self) -> tuple[type["S3Store"], tuple[str, RetryPolicy]]:
        return S3Store, (self.address, self.policy)

    @property
    def is_local(self) -> bool:
        return False

    def read(self, name: str) -> bytes:
        return self._fetch(name, _Download())

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        check_range(offset, size, self.locate(name))
        if size == 0:
            return b""  # HTTP has no empty range
        return self._fetch(name, _Download(position=offset, end=offset + size))

    def size(self, name: str) -> int:
        return int(
            self._call(self.locate(name), "head_object", Key=self._key(name))["ContentLength"]
        )

    def version(self, name: str) -> str:
        return str(self._call(self.locate(name), "head_object", Key=self._key(name))["ETag"])

    def list(self, prefix: str = "") -> list[str]:
        folder, root = self._folder(prefix), self._key("")
        names: list[str] = []
        page: dict[str, Any] = {}
        while page.get("IsTruncated", True):
            after = {"ContinuationToken": page["NextContinuationToken"]} if page else {}
            page = self._call(folder, "list_objects_v2", Prefix=root + prefix, **after)
            names += (content["Key"].removeprefix(root) for content in page.get("Contents", []))
        return sorted(name for name in names if not _is_hidden(name))

    def write(self, name: str, data: bytes) -> None:
        self._call(self.locate(name), "put_object", Key=self._key(name), Body=data)

    def upload(self, name: str, path: Path) -> None:
        where, key = self.locate(name), self._key(name)
        # The classic client: the CRT one takes a lock per host, and another process may hold it.
        transfer = TransferConfig(preferred_transfer_client="classic")

        def attempt() -> int:
            with create_transfer_manager(self._client(PART_ATTEMPTS), transfer) as manager:
                manager.upload(str(path), self.bucket, key).result()
            return path.stat().st_size

        try:
            size = self._until_deadline(where, attempt)
        except OSError as error:
            raise StorageError(
                f"{path}: {error.strerror}; check the file that was to become {where}"
            ) from error
        stored = self.size(name)
        if stored != size:
            raise StorageError(f"{where} has {stored} bytes after the upload of {size}; run again")

    def delete(self, name: str) -> None:
        self._call(self.locate(name), "delete_object", Key=self._key(name))

    def check_writable(self) -> None:
        hurried = replace(self.policy, deadline_s=min(self.policy.deadline_s, CHECK_DEADLINE_S))
        Store.check_writable(S3Store(self.address, hurried))

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def _client(self, attempts: int = 1) -> Any:
        return self._connected(attempts)[0]

    def _connected(self, attempts: int) -> tuple[Any, PresignedGets]:
        """This process's client and its GETs: connections do not survive a fork."""
        made_for = (os.getpid(), attempts)
        if made_for not in self._clients:
            with _making_client:
                if made_for not in self._clients:
                    self._clients[made_for] = _connect(self.policy, attempts, self.profile)
        return self._clients[made_for]

    def _get(self, key: str, headers: dict[str, str]) -> dict[str, Any]:
        """The answer to a GET. Its body is still to be read."""
        client, presigned = self._connected(1)
        answer = presigned.get(self.bucket, key, headers)
        if answer is None:
            arguments = {name.replace("-", ""): value for name, value in headers.items()}
            answer = client.get_object(Bucket=self.bucket, Key=key, **arguments)
            answer["Body"] = answer[
                "Body"
            ]._raw_stream  # botocore's wrapper cannot give what is there already
        return answer

    def _until_deadline(self, where: str, attempt: Callable[[], ResultType]) -> ResultType:
        return until_deadline(where, attempt, self.policy, self.counters)

    def _call(self, where: str, operation: str, **arguments: Any) -> Any:
        return self._until_deadline(
            where, lambda: getattr(self._client(), operation)(Bucket=self.bucket, **arguments)
        )

    def _fetch(self, name: str, download: "_Download") -> bytes:
        """What a download asks for. After a failure it goes on at the byte it had reached."""
        where, key = self.locate(name), self._key(name)

        def attempt() -> None:
            response = self._get(key, download.headers())
            began, position = time.monotonic(), download.position
            with closing(response["Body"]) as body:
                download.accept(response, where)
                while not download.complete:
                    download.add(body.read1(CHUNK_BYTES))
                    seconds = time.monotonic() - began
                    if (
                        seconds > self.policy.read_timeout_s
                        and download.position - position < SLOWEST * seconds
                    ):
                        raise ReadTimeoutError(
                            endpoint_url=where
                        )  # byte by byte, none of them too late

        self._until_deadline(where, attempt)
        self.counters.add(bytes_read=sum(map(len, download.chunks)))
        return b"".join(download.chunks)


@dataclass
class _Download:
    """Bytes of one version of an object, as far as they have come."""

    position: int = 0
    """The next byte to come."""
    end: int | None = None
    """The byte to stop before; None until the first answer tells the object's size."""
    etag: str | None = None
    chunks: list[bytes] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.position == self.end

    def headers(self) -> dict[str, str]:
        """Of the GET for what is missing."""
        headers = {}
        if self.end is not None:
            headers["Range"] = f"bytes={self.position}-{self.end - 1}"
        if self.etag is not None:
            headers["If-Match"] = self.etag
        return headers

    def accept(self, response: dict[str, Any], where: str) -> None:
        """Checks an answer before its body is read: not every store honors If-Match and ranges."""
        etag = response.get("ETag")
        if self.etag not in (None, etag):
            raise StorageError(f"{where} {CHANGED}")
        self.etag = etag
        if self.end is None:
            self.end = int(response["ContentLength"])
        elif not response.get("ContentRange", "").startswith(f"bytes {self.position}-"):
            raise StorageError(
                f"{where} is in a store that serves no byte ranges; copy it to one that does"
            )

    def add(self, chunk: bytes) -> None:
        if not chunk:
            raise IncompleteReadError(actual_bytes=self.position, expected_bytes=self.end)
        self.chunks.append(chunk)
        self.position += len(chunk)


def _is_hidden(name: str) -> bool:
    """Whether a key is no file: it is being written, or it ends as the marker of an empty folder in a web console does."""
    file = name.rpartition("/")[2]
    return not file or file.startswith(TEMPORARY)


@functools.cache
def _service_models(data_path: str | None) -> Any:
    """What botocore knows of S3, read once: half the time of making a client, which forked workers are spared."""
    return create_loader(data_path)


def _connect(policy: RetryPolicy, attempts: int, profile: str) -> tuple[Any, PresignedGets]:
    named = profile not in ("", ANONYMOUS)
    try:
        # A session of its own: boto3's default session is not safe in threads.
        settings = botocore.session.Session(profile=profile if named else None)
        settings.register_component(
            "data_loader", _service_models(settings.get_config_variable("data_path"))
        )
        # A profile that is named alone says where and who: the environment may mean another store.
        endpoint = settings.get_scoped_config().get("endpoint_url") if named else None
        config = Config(
            connect_timeout=policy.connect_timeout_s,
            read_timeout=policy.read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=CONNECTIONS,
            tcp_keepalive=True,
            signature_version=UNSIGNED if profile == ANONYMOUS else "s3v4",
            ignore_configured_endpoint_urls=named and endpoint is None,
            # Many stores other than Amazon's refuse the checksums that botocore adds since 1.36 (boto/boto3#4392).
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        client = boto3.session.Session(botocore_session=settings).client(
            "s3", config=config, endpoint_url=endpoint
        )
    except ValueError as error:
        raise StorageError(
            f"no S3 client with these settings: {error}; check AWS_ENDPOINT_URL and AWS_DEFAULT_REGION"
        ) from error
    return client, PresignedGets(client, settings, policy, CONNECTIONS)
