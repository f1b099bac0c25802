"""`surgrec doctor --folder s3://bucket/prefix` tells each right that the store denies."""

import pytest

from surgrec.doctor import examine_folder
from surgrec.storage.seaweed import Seaweed
from tests.support.s3 import Fault, FaultyS3, use


def test_a_store_is_good_if_an_object_can_be_written_read_and_deleted(
    faulty_s3: FaultyS3,
) -> None:
    (found,) = examine_folder("s3://corpora/runs")
    assert (found.what, found.state) == ("folder s3://corpora/runs", "good")
    assert [request.method for request in faulty_s3.requests] == ["PUT", "GET", "DELETE"]
    assert faulty_s3.objects == {}


@pytest.mark.parametrize(
    ("denied", "answers", "left"),
    [
        ("write", ["access_denied"], 0),
        # A GET that is denied is repeated without its presigned address.
        ("read", [None, "access_denied", "access_denied"], 0),
        ("delete", [None, None, "access_denied"], 1),
    ],
)
def test_a_right_that_a_store_denies_is_named_with_its_remedy(
    denied: str, answers: list[Fault | None], left: int, faulty_s3: FaultyS3
) -> None:
    faulty_s3.faults.extend(answers)
    (found,) = examine_folder("s3://corpora/runs")
    assert (found.what, found.state) == (f"folder s3://corpora/runs: {denied}", "fault")
    assert "cannot be accessed with these credentials" in found.found
    assert "ask for access" in found.remedy
    assert len(faulty_s3.objects) == left


def test_a_real_store_with_rights_to_read_only_is_a_fault(
    seaweed: Seaweed, s3_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [found.state for found in examine_folder(s3_address)] == ["good"]
    use(seaweed.reader, monkeypatch)
    (found,) = examine_folder(s3_address)
    assert (found.what, found.state) == (f"folder {s3_address}: write", "fault")
    assert "ask for access" in found.remedy


@pytest.mark.parametrize(("address", "words"), [("gs://bucket", "s3://bucket"), ("s3://", "names")])
def test_an_address_of_no_store_is_a_fault(address: str, words: str) -> None:
    (found,) = examine_folder(address)
    assert found.state == "fault"
    assert words in f"{found.found}; {found.remedy}"
