"""What the failures of an object store mean: try again, or tell the user what to do."""

import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from surgrec.errors import MissingError, StorageError
from surgrec.storage.retry import RetryPolicy
from surgrec.storage.store import TOO_SHORT, Counters

QUIET_FAILURES = 2
"""One or two failures in a row are an object store's daily life; from the next one on the user is told."""
WARNED_EVERY_S = 10.0
"""How often a process warns of a store: in an outage every thread meets it, and tries again every few seconds."""

CHANGED = "changed while it was being read; wait until its writer is done, then run again"
_ABSENT = "does not exist; check the address"
_DENIED = (
    "is out of bounds for these credentials; ask for the permission, or use others (AWS_PROFILE)"
)
_REFUSED = "is in a store that refuses the credentials; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_PROFILE"
_ELSEWHERE = "is in another region; set AWS_DEFAULT_REGION"
_SENTENCES = {
    "NoSuchBucket": "is in a bucket that does not exist; create it, or check the address and AWS_ENDPOINT_URL",
    "NoSuchKey": _ABSENT,
    "404": _ABSENT,
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "InvalidAccessKeyId": _REFUSED,
    "SignatureDoesNotMatch": _REFUSED,
    "ExpiredToken": _REFUSED,
    "InvalidToken": _REFUSED,
    "RequestTimeTooSkewed": "is refused because this machine's clock is wrong; set the clock",
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "PermanentRedirect": _ELSEWHERE,
    "PreconditionFailed": CHANGED,
    "412": CHANGED,
    "InvalidRange": TOO_SHORT,
    "416": TOO_SHORT,
}
"""What is true of an address, by the store's error code. A HEAD has no body, so its code is its status."""
_MISSING = {"NoSuchBucket", "NoSuchKey", "404"}
_PASSING = {
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "429",
}
_FAILURES = (BotoCoreError, ClientError, ResponseParserError, HTTPError)

_log = logging.getLogger(__name__)
ResultType = TypeVar("ResultType")


def until_deadline(
    where: str, attempt: Callable[[], ResultType], policy: RetryPolicy, counters: Counters
) -> ResultType:
    """The result of `attempt`, called until it succeeds.

    Raises:
        StorageError: It failed for good, or was still failing when the policy's deadline had passed.
    """
    failures, failing_since = 0, 0.0
    while True:
        counters.add(requests=1)
        try:
            return attempt()
        except _FAILURES as error:
            if not _may_pass(error):
                raise _final(error, where) from error
            failures += 1
            failing_since = failing_since or time.monotonic()
            failing_s = time.monotonic() - failing_since
            if failing_s >= policy.deadline_s:
                raise StorageError(
                    f"{where}: gave up after {failing_s:.1f} s (tries: {failures}), the last time with {_cause(error)}; "
                    "check the store and AWS_ENDPOINT_URL, then run again"
                ) from error
            if failures > QUIET_FAILURES and counters.is_due("warning", WARNED_EVERY_S):
                _log.warning(
                    "%s: %s; trying again, for %.0f s now", where, _cause(error), failing_s
                )
        counters.add(retries=1)
        time.sleep(min(policy.delay_s(failures), policy.deadline_s - failing_s))


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later: the connection, the body or the load was at fault."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        overloaded = status >= 500 and status not in (501, 507)  # not implemented, storage full
        return overloaded or error.response["Error"]["Code"] in _PASSING
    if isinstance(error, BotoCoreError):
        of_connection = isinstance(error, HTTPClientError | ConnectionError | IncompleteReadError)
        return of_connection and "CERTIFICATE_VERIFY_FAILED" not in str(error)
    return True


def _final(error: Exception, where: str) -> StorageError:
    """A failure that trying again cannot heal, as a sentence that says what can."""
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    if code in _SENTENCES:
        return (MissingError if code in _MISSING else StorageError)(f"{where} {_SENTENCES[code]}")
    if isinstance(
        error,
        NoCredentialsError | PartialCredentialsError | CredentialRetrievalError | ProfileNotFound,
    ):
        return StorageError(
            f"{where}: {error}; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return StorageError(
        f"{where}: {_cause(error)}; check the store, AWS_ENDPOINT_URL and AWS_DEFAULT_REGION"
    )


def _cause(error: Exception) -> str:
    if isinstance(error, ClientError):
        return f"{error.response['Error']['Code']} ({error.response['Error'].get('Message', 'no message')})"
    text = re.sub(r"\?X-Amz-[^\s\"']*", "", str(error))  # a signed address is a key, for an hour
    return f"{type(error).__name__} ({' '.join(text.split())})"
