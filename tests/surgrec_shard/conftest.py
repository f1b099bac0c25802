"""Videos of a hospital with their manifest, and a corpus built from them without interruption."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
import surgrec_shard.video_tasks
from surgrec_shard.encode import EncodedVideo, spool_video

from surgrec.manifest import Video
from surgrec.recordings import BadVideoError
from tests.support.tool import QUICK, fixed_key, run_tool, write_csv
from tests.support.videos import TINY_ENCODING, make_video

Files = Callable[[range], list[Video]]
"""Makes videos by number."""


@dataclass(frozen=True, kw_only=True)
class Hospital:
    """Seven videos in two sources, and the corpus of all of them."""

    manifest: Path
    corpus: Path
    private: Path


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    """Return the hospital, to be read only.

    Source `lap` has at least three groups (two train, one val), source `cat` has one.
    """
    folder = tmp_path_factory.mktemp("hospital")
    rows = []
    for number, seconds in enumerate((8, 6, 9, 4.5, 5, 7, 3)):
        source, domain = ("lap", "laparoscopy") if number < 5 else ("cat", "cataract")
        path = make_video(
            folder / "videos" / f"{number}.mp4",
            seconds=seconds,
            rate=25,
            arguments=("-vf", f"hue=h={50 * number}"),
        )
        rows.append(
            {
                "path": path.relative_to(folder),
                "source": source,
                "domain": domain,
                "case": f"patient-{number // 2}",
                "split": "val" if number == 4 else "train",
            }
        )
    manifest = write_csv(folder / "videos.csv", rows)
    private = fixed_key(folder / "private")
    hospital = Hospital(manifest=manifest, corpus=folder / "corpus", private=private)
    built = run_tool(
        "build",
        "--manifest",
        manifest,
        "--out",
        hospital.corpus,
        "--private",
        hospital.private,
        "--workers",
        1,
        *QUICK,
    )
    assert built.returncode == 0, built.stderr
    return hospital


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    """A mapping of files with a row per frame: a number, and the number of a phase."""
    path = tmp_path / "m.yaml"
    path.write_text("""
grammar: frames
time: Frame
unit: frame
tracks:
- {task: phase, column: Phase, names: {0: access, 1: closure}, ignore: [9]}
""")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Return a function that makes videos by number: one picture, but bytes of their own."""
    folder = tmp_path_factory.mktemp("files")
    render = make_video(folder / "render.mp4", seconds=8)

    def make(numbers: range) -> list[Video]:
        videos = []
        for number in numbers:
            path = folder / f"{number}.mp4"
            if not path.exists():
                box = (24).to_bytes(4, "big") + b"free" + number.to_bytes(16, "big")
                path.write_bytes(render.read_bytes() + box)
            videos.append(
                Video(path=path, source="lap", domain="other", case=f"{number}", split="train")
            )
        return videos

    return make


@pytest.fixture
def one_encoding(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let builds copy one true encoding, with bytes of each video.

    Return the paths of the videos that were encoded.
    """
    encode_video = surgrec_shard.video_tasks.encode_video
    first = encode_video(files(range(1))[0].path, TINY_ENCODING, tmp_path / "once")
    encoded: list[Path] = []

    def encode(path: Path, settings: Any, folder: Path, *_: Any) -> EncodedVideo:
        def fill(target: Path) -> EncodedVideo:
            digest = hashlib.sha256(path.read_bytes()).digest()
            if b"ftyp" not in path.read_bytes()[:16]:
                raise BadVideoError("unreadable", "not a video")
            for clip in first.clips:
                box = (40).to_bytes(4, "big") + b"free" + digest
                (target / clip.file).write_bytes((first.folder / clip.file).read_bytes() + box)
            return first

        encoded.append(path)
        return spool_video(folder, fill)

    monkeypatch.setattr("surgrec_shard.video_tasks.encode_video", encode)
    return encoded


def everything(folder: Path) -> bytes:
    """Return the bytes and names of all files of a folder, and decompressed parquet files."""
    parts = []
    for path in sorted(folder.rglob("*")):
        parts.append(path.relative_to(folder).as_posix().encode())
        if path.is_file():
            parts.append(path.read_bytes())
        if path.suffix == ".parquet":
            table = parquet.read_table(path)
            parts.append(repr((table.to_pylist(), table.schema.metadata)).encode())
    return b"\n".join(parts)
