"""Several encoders in one pass over the videos: the files are those of one after the other."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from surgrec.errors import ConfigError
from surgrec.features import EncoderChoice, extract, extract_several
from surgrec.features.corpora import JoinedClips
from tests.features.conftest import CONFIG, content, save_run


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each decoding adds its number of frames."""
    counts: list[int] = []
    original = JoinedClips.pieces

    def pieces(self: JoinedClips, times: np.ndarray):
        counts.append(len(times))
        return original(self, times)

    monkeypatch.setattr(JoinedClips, "pieces", pieces)
    return counts


def choices(folder: Path, run_dir: Path) -> Mapping[Path, EncoderChoice]:
    other = folder / "other_run"
    return {
        folder / "trained": EncoderChoice(path=run_dir),
        folder / "random": EncoderChoice(path=run_dir, random_seed=1),
        folder / "other": EncoderChoice(
            path=other if other.exists() else save_run(other, 5), fps=4.0
        ),
    }


def test_one_pass_decodes_once_and_writes_the_same_files(
    tiny_corpus: Path, run_dir: Path, tmp_path: Path, decoded: list[int]
) -> None:
    several = choices(tmp_path, run_dir)
    progress = list(extract_several([str(tiny_corpus)], several, CONFIG))
    in_one_pass = sum(decoded)
    assert {folder for folder, _ in progress} == set(several)
    assert len(progress) == 3 * progress[0][1].total
    assert progress[-1][1].done == progress[-1][1].total

    decoded.clear()
    for folder, choice in several.items():
        alone = tmp_path / "alone" / folder.name
        list(extract([str(tiny_corpus)], choice, CONFIG, alone))
        assert content(alone) == content(folder)
    assert sum(decoded) == 3 * in_one_pass > 0


def test_a_second_pass_computes_the_missing_encoders_alone(
    tiny_corpus: Path, run_dir: Path, tmp_path: Path, decoded: list[int]
) -> None:
    several = choices(tmp_path, run_dir)
    list(extract_several([str(tiny_corpus)], several, CONFIG))
    before = {folder: content(folder) for folder in several}
    shutil.rmtree(tmp_path / "random")

    again = list(extract_several([str(tiny_corpus)], several, CONFIG))
    computed = {folder.name for folder, video in again if not video.reused}
    assert computed == {"random"}
    assert {folder: content(folder) for folder in several} == before

    decoded.clear()
    list(extract_several([str(tiny_corpus)], several, CONFIG))
    assert decoded == []


def test_encoders_with_other_windows_are_refused(
    tiny_corpus: Path, run_dir: Path, tmp_path: Path
) -> None:
    several = {
        tmp_path / "a": EncoderChoice(path=run_dir),
        tmp_path / "b": EncoderChoice(path=run_dir, fps=2.0),
    }
    message = r"4 frames at 4 per second and tiny has windows of 4 frames at 2 per second; extract"
    with pytest.raises(ConfigError, match=message):
        list(extract_several([str(tiny_corpus)], several, CONFIG))
    assert not (tmp_path / "a").exists()
