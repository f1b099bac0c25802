"""GET requests with presigned addresses: one signature serves many ranges.

This takes half the processor time of signing each request (`benchmarks/s3_requests.py`).
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import botocore.session
from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session
from botocore.parsers import ResponseParserError, create_parser
from botocore.utils import get_environ_proxies

from surgrec.storage._failures import error_code
from surgrec.storage._retry import RetryPolicy

_VALID_S = 3600
_RENEW_AFTER_S = 900.0
_MAX_REFUSALS = 3
"""Refusals in a row after which presigned addresses are given up for this client."""
_WITH_BODY = (200, 203, 206)
"""Successes that carry the object. A proxy that passes it on may say 203."""
_FIRST_ERROR = 301
"""Lowest status that botocore's parser takes for an error."""
_REFUSED = (400, 401, 403)
_OPERATION = "GetObject"


@dataclass(frozen=True)
class Answer:
    """The answer to a GET, its body unread."""

    headers: Mapping[str, str]
    """Names in any case."""
    body: Any


class PresignedGets:
    """The presigned GETs of one client. Safe in threads, but not after a fork.

    Args:
        client: Client that signs.
        settings: Session of the client, for proxies and certificates.
        policy: Timeouts.
        connections: Most connections that are kept open.
    """

    def __init__(
        self, client: Any, settings: botocore.session.Session, policy: RetryPolicy, connections: int
    ) -> None:
        self._client = client
        self._http = URLLib3Session(
            verify=settings.get_config_variable("ca_bundle") or True,
            proxies=get_environ_proxies(client.meta.endpoint_url),
            timeout=(policy.connect_timeout_s, policy.read_timeout_s),
            max_pool_connections=connections,
        )

        self._parser = create_parser("rest-xml")
        self._shape = client.meta.service_model.operation_model(_OPERATION).output_shape

        self._signed: dict[tuple[str, str], tuple[str, float]] = {}
        self._signing = threading.Lock()
        self._refusals = 0

    def get(self, bucket: str, key: str, headers: dict[str, str]) -> "Answer | None":
        """Send a GET and return its answer.

        Returns:
            Headers and body, unread. None if the store refuses presigned addresses or this
            address is too old: the client's own request then succeeds or reports the reason.

        Raises:
            ClientError: The store answers with an error.
            BotoCoreError: The store does not answer.
            ResponseParserError: It answers with a success that carries no object.
        """
        if self._refusals >= _MAX_REFUSALS:
            return None

        address = self._address(bucket, key)
        response = self._http.send(
            AWSPreparedRequest("GET", address, HeadersDict(headers), None, True)
        )
        if response.status_code in _WITH_BODY:
            self._refusals = 0
            return Answer(response.headers, response.raw)
        if response.status_code < _FIRST_ERROR:
            raise ResponseParserError(
                f"status {response.status_code} is not an answer of S3 to a GET"
            )

        # A refusal may concern the signature alone, so it is left to the client's own request.
        # Other errors are final here.
        answer = {
            "headers": response.headers,
            "status_code": response.status_code,
            "body": response.content,
        }
        failure = self._parser.parse(answer, self._shape)
        if response.status_code in _REFUSED and error_code(failure) != "RequestTimeout":
            with self._signing:
                self._signed.pop((bucket, key), None)
                self._refusals += 1
            return None
        raise ClientError(failure, _OPERATION)

    def _address(self, bucket: str, key: str) -> str:
        """Return the presigned address of an object, signed anew every 15 minutes."""
        with self._signing:
            address, signed_at = self._signed.get((bucket, key), ("", 0.0))
            if not address or time.monotonic() - signed_at > _RENEW_AFTER_S:
                address = self._client.generate_presigned_url(
                    "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=_VALID_S
                )
                self._signed[bucket, key] = (address, time.monotonic())
            return address
