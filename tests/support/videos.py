"""Small videos rendered by ffmpeg, and small corpora built from them."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from surgrec_shard.build import Build, BuildConfig, BuildResult
from surgrec_shard.encode import EncodeSettings
from surgrec_shard.groups import PackSettings
from surgrec_shard.private import PrivateFolder

from surgrec.annotations import PLAIN, LabelFiles
from surgrec.manifest import Video
from surgrec.storage import open_store
from tests.support.tool import fixed_key

TINY_ENCODING = EncodeSettings(
    short_side_px=64, fps=8.0, clip_s=4.0, min_clip_s=2.0, crf=30, preset="ultrafast"
)
"""Encoding and decoding such clips takes milliseconds."""
TINY_PACKING = PackSettings(shard_bytes=120_000, group_videos=2)
"""Several shards per source, as in a large corpus."""


def make_video(
    path: Path,
    *,
    seconds: float = 8.0,
    size: str = "96x64",
    rate: float = 10,
    pattern: str = "testsrc2",
    inputs: Sequence[str] = (),
    arguments: Sequence[str] = (),
) -> Path:
    """Render a video with distinct frames; return its path.

    Args:
        path: The file; its suffix selects the container.
        seconds: Length.
        size: Width and height, pixels, as `WIDTHxHEIGHT`.
        rate: Frames per second.
        pattern: A video source of ffmpeg's lavfi, with options after `=`. Each makes another video.
        inputs: Arguments of ffmpeg that add inputs, such as a sound track.
        arguments: Arguments of ffmpeg for the output, such as a codec or metadata.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    joint = ":" if "=" in pattern else "="
    render = [
        "-f",
        "lavfi",
        "-t",
        str(seconds),
        "-i",
        f"{pattern}{joint}size={size}:rate={rate}",
        *inputs,
    ]
    encode = ["-pix_fmt", "yuv420p", "-preset", "ultrafast", "-threads", "1"]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-y", *render, *encode, *arguments, str(path)],
        check=True,
        capture_output=True,
    )
    return path


def build_corpus(
    out: Path | str,
    videos: Sequence[Video],
    *,
    private: Path,
    encode: EncodeSettings = TINY_ENCODING,
    pack: PackSettings = TINY_PACKING,
    public: bool = False,
    workers: int = 1,
    remove_unlisted: bool = False,
) -> BuildResult:
    """Build videos into the corpus at `out` without progress output."""
    config = BuildConfig(
        videos=videos,
        store=open_store(out),
        private=PrivateFolder(fixed_key(private)),
        work=private / "work",
        encode=encode,
        pack=pack,
        public=public,
        workers=workers,
        remove_unlisted=remove_unlisted,
    )
    return Build(config, lambda stage, done, total: None).run()


def make_tiny_corpus(folder: Path) -> Path:
    """Build a corpus of three sources in two domains, with labels and two splits; return its root.

    | source | domain | train clips | val clips | frame |
    | alpha | laparoscopy | 10 of 2 videos | | 96x64 |
    | beta | laparoscopy | 6 of 1 video | 2 of 1 video | 64x80 |
    | gamma | cataract | 10 of 2 videos, two of them 2 s long, the others 4 s | | 64x64 |
    """
    labels = folder / "videos" / "labels.csv"
    labels.parent.mkdir(parents=True)
    labels.write_text(
        "task,start_s,end_s,value\nphase,0,5,access\nphase,5,20,dissection\ntool,3,6,grasper\n"
    )

    def video(
        source: str,
        domain: str,
        name: str,
        size: str,
        seconds: float,
        pattern: str,
        split: str = "train",
    ) -> Video:
        path = make_video(
            folder / "videos" / source / f"{name}.mp4",
            seconds=seconds,
            size=size,
            pattern=pattern,
            rate=10,
        )
        return Video(
            path=path,
            source=source,
            domain=domain,
            case=name,
            split=split,  # type: ignore[arg-type]  # one of the literals, as the calls below show
            license="CC0",
            labels=(LabelFiles(paths=(labels,), mapping=PLAIN),) if source == "alpha" else (),
        )

    videos = [
        video("alpha", "laparoscopy", "alpha-one", "96x64", 20, "testsrc2"),
        video("alpha", "laparoscopy", "alpha-two", "96x64", 20, "mandelbrot"),
        video("beta", "laparoscopy", "beta-one", "64x80", 24, "testsrc2"),
        video("beta", "laparoscopy", "beta-two", "64x80", 8, "mandelbrot", split="val"),
        video("gamma", "cataract", "gamma-one", "64x64", 18, "testsrc2"),
        video("gamma", "cataract", "gamma-two", "64x64", 18, "testsrc"),
    ]
    result = build_corpus(folder / "corpus", videos, private=folder / "private")
    assert not result.failures
    return folder / "corpus"
