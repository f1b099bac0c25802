"""Tasks of an extraction on a cluster: their groups, and what a machine checks before them."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from surgrec.errors import ConfigError, SetupError
from surgrec.features import ExtractConfig
from surgrec.features._cluster import _require_device, grouped
from surgrec.features._videos import VideoEntry
from surgrec.machines import MachineCheck, result_versions, shared_folder
from tests.support.tool import refusal, surgrec_here


def entries(count: int) -> list[VideoEntry]:
    """Return videos of one source."""
    return [
        VideoEntry(source="a", domain="", case="", video=f"{number:05d}", split="")
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("videos", "slots", "with_gpus", "tasks"),
    [
        (10_535, 8, True, 165),  # 64 videos each
        (1_000, 8, True, 67),  # 15 videos each: 8 tasks of each slot
        (5, 8, True, 5),
        (1_000, 64, False, 1_000),
        (0, 8, True, 0),
    ],
)
def test_groups_hold_every_video_once(videos: int, slots: int, with_gpus: bool, tasks: int) -> None:
    groups = grouped(entries(videos), slots=slots, with_gpus=with_gpus)
    assert len(groups) == tasks
    assert [entry for group in groups for entry in group] == entries(videos)


@pytest.fixture
def check(tmp_path: Path) -> Iterator[MachineCheck]:
    (tmp_path / "out").mkdir()
    with shared_folder(tmp_path / "out", kind="folder of the features", option="--out") as folder:
        yield MachineCheck(folders=(folder,), inputs=(str(tmp_path),), versions=result_versions())


def test_a_machine_like_that_of_the_command_is_used(check: MachineCheck) -> None:
    pickle.loads(pickle.dumps(check)).require()


def test_a_machine_without_the_folder_of_the_features_is_refused(check: MachineCheck) -> None:
    check.folders[0].marker.unlink()
    with pytest.raises(SetupError, match=r"does not see the folder of the features .*/out .*--out"):
        check.require()


def test_a_machine_that_does_not_see_the_videos_is_refused(
    check: MachineCheck, tmp_path: Path
) -> None:
    other = replace(check, inputs=(str(tmp_path), str(tmp_path / "videos")))
    with pytest.raises(SetupError, match=rf"does not see {tmp_path}/videos, which the machine of"):
        other.require()


def test_a_machine_with_other_versions_is_refused(check: MachineCheck) -> None:
    other = replace(check, versions="SurgRec 0.0 with torch 1.0")
    with pytest.raises(SetupError, match=r"has SurgRec .* has SurgRec 0\.0 with torch 1\.0"):
        other.require()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_that_offers_a_gpu_without_having_one_is_refused() -> None:
    with pytest.raises(SetupError, match="offers a GPU, and torch finds none there"):
        _require_device("cuda:0")


def test_an_address_without_the_engine_is_refused(tmp_path: Path) -> None:
    words = ("features", tmp_path, "--encoder", tmp_path, "--out", tmp_path / "out")
    sentence = refusal(surgrec_here(*words, "--address", "10.0.0.1:6379"))
    assert "--address 10.0.0.1:6379 is for --engine ray; give both or neither" in sentence
    with pytest.raises(ConfigError, match="give both or neither"):
        ExtractConfig(address="10.0.0.1:6379")
