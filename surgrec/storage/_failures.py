"""Failures of an object store: which are temporary and retried, and the message for the others."""

import logging
import re
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException, LineTooLong
from typing import Any, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError, ProtocolError

from surgrec.deadline import Deadline
from surgrec.errors import MissingError, StorageError
from surgrec.storage._retry import RetryPolicy
from surgrec.storage._store import TOO_SHORT, Counters

QUIET_FAILURES = 2
"""Failures in a row without a warning: one or two are normal for an object store."""
WARNED_EVERY_S = 10.0
"""Seconds between two warnings of one store in a process: all threads meet an outage."""

CHANGED = "changed while it was being read; wait until its writer is done, then run again"
_ABSENT = "does not exist; check the address"
_DENIED = "cannot be accessed with these credentials; ask for access, or set AWS_PROFILE to others"
_REFUSED = (
    "is in a store that refuses the credentials; "
    "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_PROFILE"
)
_OTHER_REGION = "is in another region; set AWS_DEFAULT_REGION"
_MESSAGES = {
    "NoSuchBucket": "is in a bucket that does not exist; create it, "
    "or check the address and AWS_ENDPOINT_URL",
    "NoSuchKey": _ABSENT,
    "404": _ABSENT,
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "InvalidAccessKeyId": _REFUSED,
    "SignatureDoesNotMatch": _REFUSED,
    "ExpiredToken": _REFUSED,
    "InvalidToken": _REFUSED,
    "RequestTimeTooSkewed": "is in a store that refuses requests because this machine's clock is "
    "wrong; set the clock",
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "PermanentRedirect": _OTHER_REGION,
    "PreconditionFailed": CHANGED,
    "412": CHANGED,
    "InvalidRange": TOO_SHORT,
    "416": TOO_SHORT,
}
"""End of the sentence that begins with the address, by error code. A response to HEAD has no body,
so its code is its status."""
_MISSING = {"NoSuchBucket", "NoSuchKey", "404"}
_TEMPORARY = {
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "429",
}
_NOT_IMPLEMENTED, _STORAGE_FULL = 501, 507


class ForeignAnswerError(Exception):
    """A success whose body is not that of S3."""


_FAILURES = (BotoCoreError, ClientError, ResponseParserError, HTTPError, ForeignAnswerError)

_log = logging.getLogger(__name__)
ResultType = TypeVar("ResultType")


def retry_until_deadline(
    context: str,
    attempt: Callable[[], ResultType],
    policy: RetryPolicy,
    counters: Counters,
    deadline: Deadline,
) -> ResultType:
    """Call `attempt` until it succeeds, and return its result.

    Args:
        context: Address of the file or folder, for messages.
        attempt: One request, its body included.
        policy: Delays.
        counters: Receives `requests` and `retries`.
        deadline: When to give up. `attempt` counts its bytes there.

    Raises:
        StorageError: A failure was permanent, or failures continued until the deadline.
    """
    failures = 0
    while True:
        counters.add(requests=1)
        try:
            return attempt()
        except _FAILURES as error:
            if not _is_temporary(error):
                raise _permanent_error(error, context) from error
            if is_throttled(error):
                deadline.extend(policy.deadline_s)  # the store is alive

            failures += 1
            if deadline.left_s <= 0:
                number = "1 request" if failures == 1 else f"{failures} requests"
                raise StorageError(
                    f"{context}: {number} failed within {deadline.elapsed_s:.1f} s, the last "
                    f"one with {_cause(error)}; check the store and AWS_ENDPOINT_URL, and run again"
                ) from error
            if failures > QUIET_FAILURES and counters.is_due("warning", WARNED_EVERY_S):
                _log.warning(
                    "%s: %s; retrying, for %.0f s so far",
                    context,
                    _cause(error),
                    deadline.elapsed_s,
                )

        counters.add(retries=1)
        time.sleep(max(0.0, min(policy.delay_s(failures), deadline.left_s)))


def error_code(answer: Mapping[str, Any]) -> str:
    """Return the code in a store's parsed answer; empty if it has none, as from some proxies."""
    return str(answer.get("Error", {}).get("Code", ""))


def is_throttled(error: Exception) -> bool:
    """Return whether a store answers that it has too many requests."""
    return isinstance(error, ClientError) and error_code(error.response) in _TEMPORARY


def _is_temporary(error: Exception) -> bool:
    """Return whether a retry may succeed: the connection, the body or the load was at fault."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        is_overloaded = status >= 500 and status not in (_NOT_IMPLEMENTED, _STORAGE_FULL)
        return is_overloaded or error_code(error.response) in _TEMPORARY

    if isinstance(error, ForeignAnswerError) or _excess_of_headers(error):
        return False
    if isinstance(error, BotoCoreError):
        of_connection = isinstance(error, HTTPClientError | ConnectionError | IncompleteReadError)
        return of_connection and "CERTIFICATE_VERIFY_FAILED" not in str(error)

    return True


def _permanent_error(error: Exception, context: str) -> StorageError:
    """Return the error for a failure that no retry can heal, with its cause and the remedy."""
    code = error_code(error.response) if isinstance(error, ClientError) else ""
    is_foreign = isinstance(error, ForeignAnswerError)
    if is_foreign or (isinstance(error, ClientError) and _is_foreign(error)):
        status = 200
        if isinstance(error, ClientError):
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "?")
        return StorageError(
            f"{context}: the answer with status {status} is not that of an object store, but "
            "perhaps of a proxy or a web server; check AWS_ENDPOINT_URL and the proxy"
        )
    if code in _MESSAGES:
        kind = MissingError if code in _MISSING else StorageError
        return kind(f"{context} {_MESSAGES[code]}")

    if excess := _excess_of_headers(error):
        return StorageError(
            f"{context}: the headers of the answer are too long or too many ({excess}); check the "
            "store and the proxy before it"
        )

    if isinstance(
        error,
        NoCredentialsError | PartialCredentialsError | CredentialRetrievalError | ProfileNotFound,
    ):
        return StorageError(
            f"{context}: {error}; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return StorageError(
        f"{context}: {_cause(error)}; check the store, AWS_ENDPOINT_URL and AWS_DEFAULT_REGION"
    )


def _excess_of_headers(error: Exception) -> str:
    """Return http.client's message on headers beyond its limits; empty for another failure."""
    closed = error.kwargs.get("error") if isinstance(error, ConnectionClosedError) else None
    cause = closed.args[-1] if isinstance(closed, ProtocolError) else None
    is_excess = isinstance(cause, LineTooLong) or type(cause) is HTTPException
    return str(cause) if is_excess else ""


def _is_foreign(error: ClientError) -> bool:
    """Return whether an error came with a body that is not the XML of S3.

    Without XML, botocore takes the status for the code; in other XML, such as HTML, it finds none.
    Only an answer to HEAD has no body.
    """
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    code, message = error_code(error.response), error.response.get("Error", {}).get("Message")
    return (
        (code.isdigit() or not (code or message))
        and not error.operation_name.startswith("Head")
        and headers.get("content-length") != "0"
    )


def _cause(error: Exception) -> str:
    """Return the kind and the text of a failure on one line, without signatures."""
    if isinstance(error, ClientError):
        message = error.response.get("Error", {}).get("Message", "no message")
        return f"{error_code(error.response) or 'an error without a code'} ({message})"

    # A presigned address grants access for an hour, so its signature must not reach a log.
    text = re.sub(r"\?X-Amz-[^\s\"']*", "", str(error))
    return f"{type(error).__name__} ({' '.join(text.split())})"
