"""Where images may be sent: to this machine, and to hosts that the user names."""

import ipaddress
import socket
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from surgrec.errors import ConfigError, reason, shown


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A checked endpoint."""

    url: str
    """Address to connect to, without a final slash. Its host is an IP address for this machine."""
    host: str
    """Name of the host as the user wrote it, for the header `Host` and for messages."""
    netloc: str
    """Host and port as the user wrote them."""
    is_local: bool
    """Whether the host is this machine."""


def check_endpoint(endpoint: str, allow_hosts: Collection[str] = ()) -> Destination:
    """Return an endpoint if images may be sent there.

    A host that is not named must resolve to addresses of this machine alone. It is then contacted
    by such an address, so that a later answer of the name service changes nothing.

    Args:
        endpoint: Address of the API.
        allow_hosts: Names or addresses of hosts that may receive images.

    Raises:
        ConfigError: The address is malformed, or its host is not allowed.
    """
    parts = _split(endpoint)
    host = parts.hostname or ""
    base = endpoint.rstrip("/")
    if _plain(host) in {_plain(name) for name in allow_hosts}:
        return Destination(url=base, host=host, netloc=parts.netloc, is_local=False)

    addresses = _addresses(host, parts.port or (443 if parts.scheme == "https" else 80))
    others = sorted(str(each) for each in addresses if not each.is_loopback)
    if others:
        raise ConfigError(
            f"the endpoint {endpoint} is on the host {host} ({others[0]}), which is not this "
            f"machine; images of patients would leave it; give --allow_hosts {host} if that host "
            "may receive them"
        )
    address = min(addresses, key=str)
    shown = f"[{address}]" if address.version == 6 else str(address)
    port = f":{parts.port}" if parts.port else ""
    url = parts._replace(netloc=f"{shown}{port}").geturl().rstrip("/")
    return Destination(url=url, host=host, netloc=parts.netloc, is_local=True)


def _split(endpoint: str) -> SplitResult:
    problem = ConfigError(
        f"the endpoint {shown(endpoint)} is not the address of a server; give one such as "
        "http://127.0.0.1:8000/v1"
    )
    try:
        parts = urlsplit(endpoint)
        is_address = parts.port != 0  # a port that is no number raises
    except ValueError:
        raise problem from None
    if not is_address or parts.scheme not in ("http", "https") or not parts.hostname:
        raise problem
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"the endpoint on {parts.hostname} has a user, a password or a query; give the plain "
            "address, and the name of an environment variable with the key as --api_key_env"
        )
    return parts


def _addresses(host: str, port: int) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return the addresses of a host."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"the host {host} of the endpoint has no address ({reason(error)}); correct --endpoint"
        ) from None
    # A scope such as %eth0 is no part of an address.
    return {ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found}


def _plain(host: str) -> str:
    """Return a name of a host as it is compared."""
    return host.strip("[]").rstrip(".").lower()
