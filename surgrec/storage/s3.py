"""Objects in an S3 bucket. Temporary failures of requests and of their bodies are retried."""

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
from surgrec.storage._failures import CHANGED, retry_until_deadline
from surgrec.storage._presigned import PresignedGets
from surgrec.storage._retry import RetryPolicy
from surgrec.storage._store import TEMPORARY, Store, check_name, check_range

CHECK_DEADLINE_S = 20.0
"""Deadline of `check_writable`, seconds."""
PART_ATTEMPTS = 6
"""Tries that botocore gives each part of an upload before the whole upload starts again."""
CONNECTIONS = 64
ANONYMOUS = "anonymous"
"""Profile name of unsigned requests, for public buckets."""
MIN_BYTES_PER_S = 1024.0
"""Rate below which a connection counts as dead."""
CHUNK_BYTES = 1 << 16
"""Bytes per read of a body: the most that a broken connection loses. Other sizes are no faster."""

ResultType = TypeVar("ResultType")

# A fork waits until no client is being made: the child could never release an inherited lock.
_making_client = threading.Lock()
os.register_at_fork(
    before=_making_client.acquire,
    after_in_parent=_making_client.release,
    after_in_child=_making_client.release,
)


class S3Store(Store):
    """A bucket, or the part of it below a prefix.

    Args:
        address: `s3://bucket/prefix`, or `s3://profile@bucket/prefix` for the settings of an AWS
            profile.
        policy: Retries and timeouts.

    Raises:
        StorageError: The address names no bucket, or the prefix could lead out of it.
    """

    def __init__(self, address: str, policy: RetryPolicy) -> None:
        super().__init__(address.rstrip("/"))
        self.policy = policy
        authority, _, self.prefix = self.address.removeprefix("s3://").partition("/")
        self.profile, _, self.bucket = authority.rpartition("@")
        if not self.address.startswith("s3://") or not self.bucket:
            raise StorageError(f"{address!r} names no bucket; give s3://bucket/prefix")
        if self.prefix:
            check_name(self.prefix, f"s3://{self.bucket}")
        self._clients: dict[tuple[int, int], tuple[Any, PresignedGets]] = {}

    def __reduce__(self) -> tuple[type["S3Store"], tuple[str, RetryPolicy]]:
        return S3Store, (self.address, self.policy)

    @property
    def is_local(self) -> bool:
        """Return False: the address is not a path."""
        return False

    def read(self, name: str) -> bytes:
        """GET the whole object."""
        return self._fetch(name, _Download())

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """GET the range, and resume it after failures."""
        check_range(offset, size, self.locate(name))
        if size == 0:
            return b""  # HTTP has no empty range
        return self._fetch(name, _Download(position=offset, end=offset + size))

    def size(self, name: str) -> int:
        """Return the Content-Length of a HEAD."""
        return int(
            self._call(self.locate(name), "head_object", Key=self._key(name))["ContentLength"]
        )

    def version(self, name: str) -> str:
        """Return the ETag of a HEAD."""
        return str(self._call(self.locate(name), "head_object", Key=self._key(name))["ETag"])

    def list(self, prefix: str = "") -> list[str]:
        """List all pages, without incomplete files and markers of empty folders."""
        folder, root = self._folder(prefix), self._key("")
        names: list[str] = []
        page: dict[str, Any] = {}
        while page.get("IsTruncated", True):
            after = {"ContinuationToken": page["NextContinuationToken"]} if page else {}
            page = self._call(folder, "list_objects_v2", Prefix=root + prefix, **after)
            names += (content["Key"].removeprefix(root) for content in page.get("Contents", []))
        return sorted(name for name in names if not _is_hidden(name))

    def write(self, name: str, data: bytes) -> None:
        """PUT the object."""
        self._call(self.locate(name), "put_object", Key=self._key(name), Body=data)

    def upload(self, name: str, path: Path) -> None:
        """Upload the file, in parts if it is large, and check the stored size."""
        context, key = self.locate(name), self._key(name)
        # The classic client: the CRT client takes a lock per host, which another process may hold.
        transfer = TransferConfig(preferred_transfer_client="classic")

        def attempt() -> int:
            with create_transfer_manager(self._client(PART_ATTEMPTS), transfer) as manager:
                manager.upload(str(path), self.bucket, key).result()
            return path.stat().st_size

        try:
            size = self._retry(context, attempt)
        except OSError as error:
            raise StorageError(
                f"{path} cannot be uploaded to {context} ({error.strerror}); check the file"
            ) from error

        stored = self.size(name)
        if stored != size:
            raise StorageError(
                f"{context} has {stored} bytes after an upload of {size} bytes; run again"
            )

    def delete(self, name: str) -> None:
        """DELETE the object."""
        self._call(self.locate(name), "delete_object", Key=self._key(name))

    def check_writable(self) -> None:
        """Raise StorageError within 20 s if nothing can be written here."""
        hurried = replace(self.policy, deadline_s=min(self.policy.deadline_s, CHECK_DEADLINE_S))
        Store.check_writable(S3Store(self.address, hurried))

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def _client(self, attempts: int = 1) -> Any:
        return self._connected(attempts)[0]

    def _connected(self, attempts: int) -> tuple[Any, PresignedGets]:
        """Return the client of this process (connections do not survive a fork) and its GETs."""
        key = (os.getpid(), attempts)
        if key not in self._clients:
            with _making_client:
                if key not in self._clients:
                    self._clients[key] = _connect(self.policy, attempts, self.profile)
        return self._clients[key]

    def _get(self, key: str, headers: dict[str, str]) -> dict[str, Any]:
        """Send a GET and return the response, its body unread."""
        client, presigned = self._connected(1)
        response = presigned.get(self.bucket, key, headers)
        if response is None:
            arguments = {name.replace("-", ""): value for name, value in headers.items()}
            response = client.get_object(Bucket=self.bucket, Key=key, **arguments)
            # botocore's wrapper lacks `read1`, which returns the bytes that have arrived.
            response["Body"] = response["Body"]._raw_stream
        return response

    def _retry(self, context: str, attempt: Callable[[], ResultType]) -> ResultType:
        return retry_until_deadline(context, attempt, self.policy, self.counters)

    def _call(self, context: str, operation: str, **arguments: Any) -> Any:
        """Call an operation of the client, with retries, and return its response."""
        return self._retry(
            context, lambda: getattr(self._client(), operation)(Bucket=self.bucket, **arguments)
        )

    def _fetch(self, name: str, download: "_Download") -> bytes:
        """Return the bytes of a download, which a retry resumes at the byte it had reached."""
        context, key = self.locate(name), self._key(name)

        def attempt() -> None:
            response = self._get(key, download.headers())
            began, start = time.monotonic(), download.position
            with closing(response["Body"]) as body:
                download.accept(response, context)

                # Keep every chunk at once: a retry then requests only the bytes after it.
                while not download.complete:
                    download.add(body.read1(CHUNK_BYTES))

                    # A trickle of bytes never meets the read timeout, so check the rate as well.
                    seconds = time.monotonic() - began
                    is_slow = download.position - start < MIN_BYTES_PER_S * seconds
                    if seconds > self.policy.read_timeout_s and is_slow:
                        raise ReadTimeoutError(endpoint_url=context)

        self._retry(context, attempt)
        self.counters.add(bytes_read=sum(map(len, download.chunks)))
        return b"".join(download.chunks)


@dataclass
class _Download:
    """The bytes of one version of an object that have arrived so far."""

    position: int = 0
    """Offset of the next byte."""
    end: int | None = None
    """Offset behind the last byte; None until the first response gives the object's size."""
    etag: str | None = None
    """Version of the object; None before the first response."""
    chunks: list[bytes] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.position == self.end

    def headers(self) -> dict[str, str]:
        """Return the headers of a GET for the missing bytes of the same version."""
        headers = {}
        if self.end is not None:
            headers["Range"] = f"bytes={self.position}-{self.end - 1}"
        if self.etag is not None:
            headers["If-Match"] = self.etag
        return headers

    def accept(self, response: dict[str, Any], context: str) -> None:
        """Check a response before its body is read: some stores ignore If-Match or ranges.

        Raises:
            StorageError: The response is of another version or of another range.
        """
        etag = response.get("ETag")
        if self.etag not in (None, etag):
            raise StorageError(f"{context} {CHANGED}")
        self.etag = etag

        if self.end is None:
            self.end = int(response["ContentLength"])
        elif not response.get("ContentRange", "").startswith(f"bytes {self.position}-"):
            raise StorageError(
                f"{context} is in a store that serves no byte ranges; copy the corpus to "
                "another store"
            )

    def add(self, chunk: bytes) -> None:
        """Append the next bytes. An empty chunk is the early end of a body."""
        if not chunk:
            raise IncompleteReadError(actual_bytes=self.position, expected_bytes=self.end)
        self.chunks.append(chunk)
        self.position += len(chunk)


def _is_hidden(name: str) -> bool:
    """Return whether a key is an incomplete file, or a web console's marker of an empty folder."""
    file = name.rpartition("/")[2]
    return not file or file.startswith(TEMPORARY)


@functools.cache
def _service_models(data_path: str | None) -> Any:
    """Return botocore's description of S3.

    It takes half the time of making a client, so forked workers share it.
    """
    return create_loader(data_path)


def _connect(policy: RetryPolicy, attempts: int, profile: str) -> tuple[Any, PresignedGets]:
    """Return a new client and its presigned GETs.

    Args:
        policy: Timeouts.
        attempts: Tries that botocore itself gives each request.
        profile: AWS profile, `anonymous` for unsigned requests, or empty for the environment's
            settings.
    """
    is_named = profile not in ("", ANONYMOUS)
    try:
        # Each client has its own session: boto3's default session is not safe in threads.
        settings = botocore.session.Session(profile=profile if is_named else None)
        settings.register_component(
            "data_loader", _service_models(settings.get_config_variable("data_path"))
        )

        # A named profile determines the endpoint: the environment may belong to another store.
        endpoint = settings.get_scoped_config().get("endpoint_url") if is_named else None
        config = Config(
            connect_timeout=policy.connect_timeout_s,
            read_timeout=policy.read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=CONNECTIONS,
            tcp_keepalive=True,
            signature_version=UNSIGNED if profile == ANONYMOUS else "s3v4",
            ignore_configured_endpoint_urls=is_named and endpoint is None,
            # Many other stores refuse botocore's checksums (since 1.36, boto/boto3#4392).
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        client = boto3.session.Session(botocore_session=settings).client(
            "s3", config=config, endpoint_url=endpoint
        )
    except ValueError as error:
        raise StorageError(
            f"the settings of the S3 client are invalid ({error}); "
            "check AWS_ENDPOINT_URL and AWS_DEFAULT_REGION"
        ) from error

    return client, PresignedGets(client, settings, policy, CONNECTIONS)
