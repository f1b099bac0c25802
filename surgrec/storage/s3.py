"""Objects in an S3 bucket. Temporary failures of requests and of their bodies are retried."""

import functools
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import boto3
import botocore.session
from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore import UNSIGNED
from botocore.awsrequest import HeadersDict
from botocore.config import Config
from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError
from botocore.loaders import create_loader
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp
from s3transfer.subscribers import BaseSubscriber  # type: ignore[import-untyped]

from surgrec.deadline import MIN_BYTES_PER_S, Deadline
from surgrec.errors import MissingError, StorageError
from surgrec.storage._download import (
    Download,
    content_length,
    object_length,
    opaque,
    version_facts,
)
from surgrec.storage._failures import ForeignAnswerError, error_code, retry_until_deadline
from surgrec.storage._owner_file import check_owned
from surgrec.storage._presigned import Answer, PresignedGets
from surgrec.storage._retry import RetryPolicy
from surgrec.storage._store import TEMPORARY, Store, check_name, check_range
from surgrec.watch import watched

CHECK_DEADLINE_S = 20.0
"""Deadline of `check_writable`, seconds."""
PART_ATTEMPTS = 6
"""Tries that botocore gives each part of an upload before the whole upload starts again."""
CONNECTIONS = 64
ANONYMOUS = "anonymous"
"""Profile name of unsigned requests, for public buckets."""
EMPTY_PAGES = 1000
"""Pages without a new name in a row after which a listing is given up."""
CHUNK_BYTES = 1 << 16
"""Bytes per read of a body: the most that a broken connection loses. Other sizes are no faster."""

_CONFLICTS = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "404")
"""Codes of a conditional PUT that was not done. An object that If-Match asks for may be gone."""
_ROOTS = {
    "ListObjectsV2": b"ListBucketResult",
    "ListMultipartUploads": b"ListMultipartUploadsResult",
    "CreateMultipartUpload": b"InitiateMultipartUploadResult",
}
"""Root elements of answers whose emptiness would be taken for a fact."""
_UNKNOWN_CONDITION = ("NotImplemented", "501", "InvalidArgument", "InvalidRequest")
_NO_ETAG = f'"{0:032x}"'

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
        self._has_answered = False

    def __reduce__(self) -> tuple[type["S3Store"], tuple[str, RetryPolicy]]:
        return S3Store, (self.address, self.policy)

    @property
    def is_local(self) -> bool:
        """Return False: the address is not a path."""
        return False

    def read(self, name: str) -> bytes:
        """GET the whole object."""
        return self._fetch(name, Download())

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """GET the range, and resume it after failures."""
        check_range(offset, size, self.locate(name))
        if size == 0:
            return b""  # HTTP has no empty range
        return self._fetch(name, Download(position=offset, end=offset + size))

    def size(self, name: str) -> int:
        """Return the Content-Length of a HEAD, or else the length that a GET of one byte states."""
        context, key = self.locate(name), self._key(name)
        length = content_length(self._head(name))
        if length is None:
            length = self._retry(context, lambda deadline: self._length(key, deadline))
        if length is None:
            raise StorageError(
                f"{context} is in a store that states no Content-Length; check the proxy before "
                "the store, or AWS_ENDPOINT_URL"
            )
        return length

    def version(self, name: str) -> str:
        """Return the ETag of a HEAD, or else its time and length."""
        headers = self._head(name)
        facts = version_facts(headers)
        if not facts:
            raise StorageError(
                f"{self.locate(name)} is in a store that gives neither an ETag nor Last-Modified, "
                "so a change of the file would not be noticed; check the proxy before the store, "
                "or AWS_ENDPOINT_URL"
            )
        if "etag" in facts:
            return opaque(facts["etag"])
        return f"{facts['last-modified']} {content_length(headers)}"

    def list(self, prefix: str = "") -> list[str]:
        """List all pages, without incomplete files and markers of empty folders."""
        folder, root = self._folder(prefix), self._key("")
        keys: set[str] = set()
        page: dict[str, Any] = {"IsTruncated": True}
        following: dict[str, Any] = {}
        last, without_news = "", 0

        while is_truncated(page):
            page = self._call(folder, "list_objects_v2", Prefix=root + prefix, **following)
            found = [content.get("Key", "") for content in page.get("Contents", [])]
            new = {key for key in found if key.startswith(root + prefix)} - keys
            keys |= new
            last = max([last, *found], key=str.encode)

            # Some stores forget the token of the next page: go on behind the last key.
            token = page.get("NextContinuationToken")
            before = following
            following = {"ContinuationToken": token} if token else {"StartAfter": last}
            without_news = 0 if new else without_news + 1
            if is_truncated(page) and (following == before or without_news > EMPTY_PAGES):
                raise StorageError(
                    f"{folder} is in a store whose listing does not advance: it says that it is "
                    f"truncated after {len(keys)} names, but gives no way to the next ones; check "
                    "the proxy before the store, or AWS_ENDPOINT_URL"
                )
        names = (key.removeprefix(root) for key in keys)
        return sorted(name for name in names if not _is_hidden(name))

    def write(self, name: str, data: bytes) -> None:
        """PUT the object. Without an ETag in the answer, its size is checked."""
        check_owned()
        answer = self._call(
            self.locate(name), "put_object", Key=self._key(name), Body=data, sent_bytes=len(data)
        )
        if not answer.get("ETag"):
            self._check_stored(name, len(data))

    def replace(self, name: str, data: bytes, version: str | None) -> bool:
        """PUT the object with If-Match or If-None-Match."""
        check_owned()
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}

        def attempt(deadline: Deadline) -> bool:
            call = partial(
                self._client().put_object,
                Bucket=self.bucket,
                Key=self._key(name),
                Body=data,
                **condition,
            )

            try:
                answer = self._watched(call, deadline)
            except ClientError as error:
                if error_code(error.response) in _CONFLICTS:
                    return False
                raise

            if not answer.get("ETag"):
                self._check_stored(name, len(data))
            return True

        # A retry may meet the object of a try whose answer was lost.
        return self._retry(self.locate(name), attempt, len(data)) or self._has(name, data)

    def can_replace(self) -> bool:
        """Try both conditions with an object of its own."""
        name = f"{TEMPORARY}condition-{uuid.uuid4().hex}"

        try:
            return (
                self.replace(name, b"1", None)
                and not self.replace(name, b"2", None)
                and not self.replace(name, b"3", _NO_ETAG)
                and self.replace(name, b"4", self.version(name))
            )
        except StorageError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and error_code(cause.response) in _UNKNOWN_CONDITION:
                return False
            raise
        finally:
            self.delete(name)

    def upload(self, name: str, path: Path) -> None:
        """Upload the file, in parts if it is large, and check the stored size."""
        check_owned()
        context, key = self.locate(name), self._key(name)
        # The classic client: the CRT client takes a lock per host, which another process may hold.
        transfer = TransferConfig(preferred_transfer_client="classic")

        def attempt(deadline: Deadline) -> int:
            progress = [_Progress(deadline)]
            with create_transfer_manager(self._client(PART_ATTEMPTS), transfer) as manager:
                manager.upload(str(path), self.bucket, key, subscribers=progress).result()
            return path.stat().st_size

        try:
            size = self._retry(context, attempt)
        except OSError as error:
            raise StorageError(
                f"{path} cannot be uploaded to {context} ({error.strerror}); check the file"
            ) from error

        self._check_stored(name, size)

    def delete(self, name: str) -> None:
        """DELETE the object."""
        check_owned()
        self._call(self.locate(name), "delete_object", Key=self._key(name))

    def remove_unfinished(self, prefix: str) -> None:
        """Abort unfinished uploads in parts, whose parts would stay in the bucket."""
        folder, start = self._folder(prefix), self._key("") + prefix

        following: dict[str, Any] = {}
        while True:
            page = self._call(folder, "list_multipart_uploads", Prefix=start, **following)

            for upload in page.get("Uploads", []):
                if upload["Key"].startswith(start):
                    self._call(
                        folder,
                        "abort_multipart_upload",
                        Key=upload["Key"],
                        UploadId=upload["UploadId"],
                    )

            if not page.get("IsTruncated") or "NextKeyMarker" not in page:
                return
            following = {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page.get("NextUploadIdMarker", ""),
            }

    def check_writable(self) -> None:
        """Raise StorageError within 20 s if nothing can be written here."""
        hurried = replace(self.policy, deadline_s=min(self.policy.deadline_s, CHECK_DEADLINE_S))
        Store.check_writable(S3Store(self.address, hurried))

    def _check_stored(self, name: str, size: int) -> None:
        """Raise StorageError if the store does not have an object in the size that was sent."""
        try:
            found = f"has {self.size(name)} bytes"
        except MissingError:
            found = "does not exist"
        if found != f"has {size} bytes":
            raise StorageError(
                f"{self.locate(name)} {found} after an upload of {size} bytes that was answered "
                "with success; check AWS_ENDPOINT_URL, and the proxy before the store, and run "
                "again"
            )

    def _has(self, name: str, data: bytes) -> bool:
        try:
            return self.size(name) == len(data) and self.read(name) == data
        except MissingError:
            return False

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

    def _get(self, key: str, headers: dict[str, str]) -> Answer:
        """Send a GET and return its answer, the body unread."""
        client, presigned = self._connected(1)
        answer = presigned.get(self.bucket, key, headers)
        if answer is None:
            arguments = {name.replace("-", ""): value for name, value in headers.items()}
            response = client.get_object(Bucket=self.bucket, Key=key, **arguments)
            # botocore's wrapper lacks `read1`, which returns the bytes that have arrived.
            answer = Answer(
                HeadersDict(response["ResponseMetadata"]["HTTPHeaders"]),
                response["Body"]._raw_stream,
            )
        return answer

    def _retry(
        self, context: str, attempt: Callable[[Deadline], ResultType], sent_bytes: int = 0
    ) -> ResultType:
        """Call `attempt` with the deadline of all its tries, until it succeeds."""
        policy = self.policy
        allowed_s = policy.deadline_s
        if not self._has_answered:
            allowed_s = min(allowed_s, policy.first_answer_s)
        deadline = Deadline(allowed_s + sent_bytes / MIN_BYTES_PER_S)
        result = retry_until_deadline(
            context, lambda: attempt(deadline), policy, self.counters, deadline
        )
        self._has_answered = True
        return result

    def _call(
        self, context: str, operation: str, *, sent_bytes: int = 0, **arguments: Any
    ) -> dict[str, Any]:
        """Call an operation of the client, with retries, and return its response."""

        def attempt(deadline: Deadline) -> dict[str, Any]:
            call = partial(getattr(self._client(), operation), Bucket=self.bucket, **arguments)
            response: dict[str, Any] = self._watched(call, deadline)
            return response

        return self._retry(context, attempt, sent_bytes)

    def _watched(self, call: Callable[[], ResultType], deadline: Deadline) -> ResultType:
        """Return the result of a request. A server may send its headers for ever, byte by byte."""
        try:
            return watched(call, deadline, grace_s=self.policy.read_timeout_s)
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=self.address) from error
        except ValueError as error:  # botocore's parser lets this through
            raise ResponseParserError(f"not an answer of S3: {error}") from error

    def _head(self, name: str) -> Mapping[str, str]:
        """Return the headers of a HEAD, their names in lower case."""
        response = self._call(self.locate(name), "head_object", Key=self._key(name))
        headers: Mapping[str, str] = response["ResponseMetadata"]["HTTPHeaders"]
        return headers

    def _length(self, key: str, deadline: Deadline) -> int | None:
        """Return the length of an object, from the answer to a GET of its first byte."""
        try:
            answer = self._watched(partial(self._get, key, {"Range": "bytes=0-0"}), deadline)
        except ClientError as error:
            if error_code(error.response) == "InvalidRange":
                return 0  # an empty object has no first byte
            raise
        answer.body.close()
        return object_length(answer.headers)

    def _fetch(self, name: str, download: Download) -> bytes:
        """Return the bytes of a download, which a retry resumes at the byte it had reached."""
        context, key = self.locate(name), self._key(name)

        def attempt(deadline: Deadline) -> None:
            answer = self._watched(partial(self._request, key, download), deadline)
            deadline.extend(self.policy.deadline_s)
            began, start = time.monotonic(), download.position

            with closing(answer.body) as body:
                download.accept(answer.headers, context)

                # Keep every chunk at once: a retry then requests only the bytes after it.
                while not download.complete:
                    chunk = body.read1(min(CHUNK_BYTES, download.missing))
                    if not chunk and download.end is None:
                        download.end = self._end_of_unsized(name, download, answer)
                        continue
                    deadline.add(download.add(chunk))

                    # A trickle of bytes never meets the read timeout, so check the rate as well.
                    seconds = time.monotonic() - began
                    is_slow = download.position - start < MIN_BYTES_PER_S * seconds
                    if deadline.left_s <= 0 or (is_slow and seconds > self.policy.read_timeout_s):
                        raise ReadTimeoutError(endpoint_url=context)

        self._retry(context, attempt)
        self.counters.add(bytes_read=sum(map(len, download.chunks)))
        data = b"".join(download.chunks)
        download.check_encoding(data, context)
        return data

    def _request(self, key: str, download: Download) -> Answer:
        """Send the next GET of a download."""
        headers = download.headers()
        try:
            return self._get(key, headers)
        except ClientError as error:
            # Some proxies change ETags on their way. The answer then shows whether it is the same
            # object.
            is_refused = error_code(error.response) in ("PreconditionFailed", "412")
            if not is_refused or "If-Match" not in headers:
                raise
            download.uses_if_match = False
            return self._get(key, download.headers())

    def _end_of_unsized(self, name: str, download: Download, answer: Answer) -> int:
        """Return the end of a body that came without a length, if it is whole.

        The chunks of a chunked body prove their end. A body that ends with its connection may have
        been cut, so a HEAD must confirm its length.
        """
        if "chunked" in answer.headers.get("transfer-encoding", "").lower():
            return download.position
        length = self.size(name)
        if length != download.position:
            raise IncompleteReadError(actual_bytes=download.position, expected_bytes=length)
        return length


class _Progress(BaseSubscriber):  # type: ignore[misc]  # s3transfer is untyped
    """Counts the bytes of an upload as progress."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def on_progress(self, bytes_transferred: int, **_: Any) -> None:
        self._deadline.add(max(0, bytes_transferred))


def is_truncated(page: dict[str, Any]) -> bool:
    """Return whether a page of a listing is followed by another one."""
    return bool(page.get("IsTruncated", "NextContinuationToken" in page))


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


def _check_root(name: bytes, response: tuple[Any, Any] | None, **_: Any) -> None:
    """Refuse a success with another root element.

    botocore reads well-formed HTML as an empty answer, and other text than XML as status 500.
    """
    if response is None or response[0].raw.status != 200:  # the status as it came
        return
    root = rb"(%b|Error)[\s/>]" % name
    before = rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<([\w-]+:)?"
    if not re.match(before + root, response[0].content, flags=re.DOTALL):
        raise ForeignAnswerError


def _check_no_body(response: tuple[Any, Any] | None, **_: Any) -> None:
    """Refuse a success of an upload that comes with a page: a proxy or a login page sent it."""
    if response is not None and response[0].raw.status == 200 and response[0].content.strip():
        raise ForeignAnswerError


def _time_or_none(value: Any) -> datetime | None:
    """Return a time of an answer, or None if it is none: only its text is used here."""
    try:
        time_of_answer: datetime = parse_timestamp(value)
    except (ValueError, RuntimeError, OverflowError):
        return None
    return time_of_answer


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

        settings.get_component("response_parser_factory").set_parser_defaults(
            timestamp_parser=_time_or_none
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
        for operation in _ROOTS:
            check = partial(_check_root, _ROOTS[operation])
            client.meta.events.register_first(f"needs-retry.s3.{operation}", check)
        for operation in ("PutObject", "UploadPart"):
            client.meta.events.register_first(f"needs-retry.s3.{operation}", _check_no_body)
    except ValueError as error:
        raise StorageError(
            f"the settings of the S3 client are invalid ({error}); "
            "check AWS_ENDPOINT_URL and AWS_DEFAULT_REGION"
        ) from error

    return client, PresignedGets(client, settings, policy, CONNECTIONS)
