"""S3, its credentials and its refusals, on a real server."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from surgrec.errors import MissingError, StorageError
from surgrec.storage import RetryPolicy, Store, open_store
from surgrec.storage.seaweed import Account, Seaweed, free_ports
from tests.support.s3 import FaultyS3, use


def test_a_wrong_key_fails_at_once_and_says_what_to_check(
    seaweed: Seaweed, s3_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(replace(seaweed.writer, secret_key="wrong"), monkeypatch)
    store = open_store(s3_address)
    with pytest.raises(StorageError, match=rf"{s3_address}/corpus\.json .*AWS_SECRET_ACCESS_KEY"):
        store.read("corpus.json")
    assert store.counters.total("requests") == 1
    use(replace(seaweed.writer, access_key="nobody"), monkeypatch)
    with pytest.raises(StorageError, match=rf"{s3_address} .*AWS_ACCESS_KEY_ID"):
        open_store(s3_address).list()


def test_no_credentials_at_all_is_a_sentence(
    s3_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(
        StorageError,
        match=rf"{s3_address}/corpus\.json: Unable to locate credentials; set AWS_PROFILE",
    ):
        open_store(s3_address).read("corpus.json")


def test_a_missing_bucket_fails_at_once_and_is_named(s3_address: str) -> None:
    store = open_store("s3://no-such-bucket/corpus")
    calls: list[Callable[[], object]] = [
        store.check_writable,
        store.list,
        lambda: store.read("x"),
        lambda: store.upload("x", Path(__file__)),
    ]
    for call in calls:
        with pytest.raises(
            MissingError, match=r"s3://no-such-bucket/corpus.* bucket that does not exist"
        ):
            call()
    assert not store.exists("corpus.json")


def test_a_key_that_may_only_read_is_found_by_the_check(
    seaweed: Seaweed, s3_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(s3_address).write("corpus.json", b"{}")
    use(seaweed.reader, monkeypatch)
    store = open_store(s3_address)
    assert store.read("corpus.json") == b"{}"
    with pytest.raises(
        StorageError, match=rf"{s3_address}/.* cannot be accessed with these credentials"
    ):
        store.check_writable()
    with pytest.raises(StorageError, match="cannot be accessed with these credentials"):
        store.upload("shard.tar", Path(__file__))


def test_a_profile_may_hold_all_settings(
    seaweed: Seaweed, s3_address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account = seaweed.writer
    (tmp_path / "config").write_text(
        f"[profile hospital]\nendpoint_url = {account.endpoint}\nregion = eu-central-1\n"
        "s3 =\n  addressing_style = path\n"
        f"aws_access_key_id = {account.access_key}\naws_secret_access_key = {account.secret_key}\n"
    )
    for name in account.environment():
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "hospital")
    open_store(s3_address).write("corpus.json", b"{}")
    assert open_store(s3_address).list() == ["corpus.json"]


def test_an_address_with_a_profile_ignores_the_environment(
    seaweed: Seaweed,
    s3_address: str,
    faulty_s3: FaultyS3,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    account = seaweed.writer
    (tmp_path / "config").write_text(
        f"[profile hospital]\nendpoint_url = {account.endpoint}\nregion = eu-central-1\n"
        f"aws_access_key_id = {account.access_key}\naws_secret_access_key = {account.secret_key}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    bucket_and_prefix = s3_address.removeprefix("s3://")
    theirs = open_store(f"s3://hospital@{bucket_and_prefix}")
    theirs.write("corpus.json", b"{}")
    assert theirs.list() == ["corpus.json"]
    assert theirs.locate("corpus.json") == f"s3://hospital@{bucket_and_prefix}/corpus.json"
    assert not faulty_s3.requests
    faulty_s3.objects["public/corpus.json"] = b"[]"
    assert open_store("s3://corpora/public").read("corpus.json") == b"[]"
    with pytest.raises(
        StorageError, match=r"profile \(nobody\) could not be found; set AWS_PROFILE"
    ):
        open_store(f"s3://nobody@{bucket_and_prefix}").read("corpus.json")


def test_an_anonymous_address_signs_nothing_and_needs_no_credentials(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty_s3.objects["public/corpus.json"] = b"[]"
    open_store("s3://corpora/public").read("corpus.json")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert open_store("s3://anonymous@corpora/public").read_range("corpus.json", 0, 1) == b"["
    assert [bool(request.signature) for request in faulty_s3.requests] == [True, False]


def test_an_anonymous_address_in_a_private_store_is_refused_in_a_sentence(s3_address: str) -> None:
    address = s3_address.replace("s3://", "s3://anonymous@")
    with pytest.raises(
        StorageError, match=rf"{address}/corpus\.json cannot be accessed with these credentials"
    ):
        open_store(address).read("corpus.json")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_PROFILE", "hopsital"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:9000"),
        ("AWS_DEFAULT_REGION", "Frankfurt am Main"),
    ],
)
def test_a_setting_that_boto_refuses_is_a_sentence(
    name: str, value: str, s3_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StorageError, match=f"{re.escape(value)}.*(check|set) .*{name}"):
        open_store(s3_address).list()


def test_a_server_that_is_down_is_given_up_after_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = Account(
        endpoint=f"http://127.0.0.1:{free_ports(1)[0]}", access_key="any", secret_key="any"
    )
    use(account, monkeypatch)
    store = open_store("s3://corpora/x", policy=RetryPolicy(deadline_s=0.3, first_delay_s=0.02))
    with pytest.raises(
        StorageError,
        match=rf"^s3://corpora/x/corpus\.json: \d+ requests failed within .*{account.endpoint}",
    ) as caught:
        store.read("corpus.json")
    assert "Signature" not in str(caught.value)
    assert store.counters.total("retries") > 1


def test_names_with_spaces_and_other_alphabets_survive(s3_address: str, tmp_path: Path) -> None:
    store: Store = open_store(s3_address)
    (tmp_path / "x").write_bytes(b"x")
    store.upload("a b+c/ü%20.json", tmp_path / "x")
    assert store.list() == ["a b+c/ü%20.json"]
    assert store.read_range("a b+c/ü%20.json", 0, 1) == b"x"


@pytest.mark.parametrize("address", ["s3://", "s3:///prefix"])
def test_an_address_without_a_bucket_is_refused(address: str) -> None:
    with pytest.raises(StorageError, match=f"'{address}' names no bucket"):
        open_store(address)


def test_a_prefix_that_could_lead_outside_is_refused() -> None:
    with pytest.raises(StorageError, match=r"'a/\.\./b' cannot name a file in s3://corpora"):
        open_store("s3://corpora/a/../b")
