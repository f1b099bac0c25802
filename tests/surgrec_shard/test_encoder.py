"""The encoder is known by what decides the bytes, not by the name of its package."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from surgrec_shard.encoder import encoder_versions

from surgrec.errors import SetupError
from surgrec.recordings import find_program
from tests.support.tool import QUICK, build_folder, digests, refusal, run_here
from tests.support.videos import make_video

Use = Callable[[str], None]


@pytest.fixture
def other_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Use]:
    """Return a function that puts an ffmpeg on PATH, in which a shell function changes something.

    The function gets the arguments of ffmpeg, and runs the real one as `real`.
    """
    program = shutil.which("ffmpeg")

    def use(body: str) -> None:
        path = tmp_path / "bin" / "ffmpeg"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/bash\nreal() {{ {program} "$@"; }}\n{body}\n')
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(path.parent), prepend=":")
        find_program.cache_clear()
        encoder_versions.cache_clear()

    yield use
    find_program.cache_clear()
    encoder_versions.cache_clear()


VERSION = '[ "$1" = -version ] && { real "$@" | sed "%s"; exit; }; real "$@"'


def test_a_security_update_of_the_package_keeps_a_corpus_open(
    tmp_path: Path, other_ffmpeg: Use
) -> None:
    make_video(tmp_path / "videos" / "a.mp4", seconds=2)
    build = (*build_folder(tmp_path / "videos"), *QUICK, "--out", tmp_path / "corpus")
    assert run_here(*build).returncode == 0
    before, versions = digests(tmp_path / "corpus"), encoder_versions()

    other_ffmpeg(VERSION % r"s/ffmpeg version [^ ]*/ffmpeg version 5.1.9-0+deb12u2/")
    assert encoder_versions() == versions
    assert run_here(*build).returncode == 0
    assert digests(tmp_path / "corpus") == before


def test_another_library_or_other_bytes_are_refused_by_name(
    tmp_path: Path, other_ffmpeg: Use
) -> None:
    make_video(tmp_path / "videos" / "a.mp4", seconds=2)
    build = (*build_folder(tmp_path / "videos"), *QUICK, "--out", tmp_path / "corpus")
    assert run_here(*build).returncode == 0
    versions = encoder_versions()

    other_ffmpeg(VERSION % r"s/^libswscale .*/libswscale      7.  1.100 \/  7.  5.100/")
    assert encoder_versions() == versions | {"libswscale": "7.5.100"}
    sentence = refusal(run_here(*build))
    assert f"libswscale {versions['libswscale']} (now 7.5.100)" in sentence
    assert "use the same versions of the encoder" in sentence

    other_ffmpeg('real "${@/cpu-independent=1/cpu-independent=1:subme=1}"')
    changed = encoder_versions()
    assert {name for name in versions if versions[name] != changed[name]} == {"probe"}


def test_an_ffmpeg_without_x264_is_refused(other_ffmpeg: Use) -> None:
    other_ffmpeg('case "$*" in *libx264*) exit 1;; esac; real "$@"')
    with pytest.raises(SetupError, match="cannot encode with libx264"):
        encoder_versions()
