"""Images go to this machine, and to no other host that the user has not named."""

import socket

import pytest

from surgrec.errors import ConfigError
from surgrec.vlms._hosts import check_endpoint


def test_addresses_of_this_machine_are_allowed() -> None:
    found = check_endpoint("http://127.0.0.1:8000/v1/")
    assert (found.url, found.host, found.is_local) == (
        "http://127.0.0.1:8000/v1",
        "127.0.0.1",
        True,
    )
    assert check_endpoint("http://[::1]:9/v1").url == "http://[::1]:9/v1"


def test_a_name_of_this_machine_is_contacted_by_its_address() -> None:
    found = check_endpoint("http://localhost:8000/v1")
    assert found.url in ("http://127.0.0.1:8000/v1", "http://[::1]:8000/v1")
    assert found.netloc == "localhost:8000"


@pytest.mark.parametrize("host", ["192.0.2.7", "[2001:db8::1]", "0.0.0.0"])
def test_another_address_is_refused_unless_it_is_named(host: str) -> None:
    with pytest.raises(ConfigError, match="not this machine; images of patients would leave it"):
        check_endpoint(f"http://{host}:8000/v1")
    with pytest.raises(ConfigError, match="give --allow_hosts"):
        check_endpoint(f"http://{host}:8000/v1", ["gpu1.hospital"])
    assert not check_endpoint(f"http://{host}:8000/v1", [host]).is_local


def test_a_name_that_leads_elsewhere_is_refused_whatever_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (each, port)) for each in ("127.0.0.1", "192.0.2.7")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(ConfigError, match=r"on the host localhost \(192\.0\.2\.7\)"):
        check_endpoint("http://localhost:8000/v1")


def test_names_are_compared_without_case_and_final_dot() -> None:
    found = check_endpoint("http://GPU1.hospital.:8000/v1", ["gpu1.Hospital"])
    assert found.url == "http://GPU1.hospital.:8000/v1"


@pytest.mark.parametrize(
    "endpoint", ["", "127.0.0.1:8000", "ftp://127.0.0.1/v1", "http://", "http://127.0.0.1:x/v1"]
)
def test_what_is_no_address_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="is not the address of a server"):
        check_endpoint(endpoint)


def test_a_key_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="has a user, a password or a query") as refused:
        check_endpoint("http://user:secret@127.0.0.1:8000/v1")
    assert "secret" not in str(refused.value)
