"""The corpus of the benchmarks: a few rendered originals, and many clips of them in shards."""

import hashlib
import random
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from surgrec_shard.phantom.render_corpus import render_corpus

from surgrec.shards import (
    Clip,
    CorpusFile,
    Sample,
    Shard,
    ShardWriter,
    open_corpus,
    settle_tables,
    shard_name,
    unlisted_files,
    write_source,
)
from surgrec.storage import Store, open_store

SHARD_BYTES = 64 << 20
"""Size of a shard, as MosaicML Streaming and LitData choose it."""
ORIGINALS = {"720p30": (1280, 720, 30), "480p25": (854, 480, 25), "1080p25": (1920, 1080, 25)}
"""Width, height and frame rate. The first form is built into shards."""
NOISE = 5
"""Strength of ffmpeg's noise filter.

It gives the bit rates of recorders: 11.5 Mbit/s at 1080p, 5.7 at 720p, 2.7 at 480p.
"""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Locations of everything that the loaders read."""

    folder: Path

    @property
    def originals(self) -> Path:
        """Folder with one folder of videos per resolution."""
        return self.folder / "originals"

    @property
    def stored(self) -> Path:
        """Corpus of shards."""
        return self.folder / "stored"

    @property
    def files(self) -> Path:
        """Folder with each stored clip as one file, for a hand-written Dataset."""
        return self.folder / "files"


def prepare_corpus(folder: Path, *, clips: int, seconds: float = 30.0) -> Corpus:
    """Render and encode missing data; takes some minutes the first time."""
    corpus = Corpus(folder=folder)
    folder.mkdir(parents=True, exist_ok=True)
    built, *_ = ORIGINALS
    _encode_originals(corpus, built, seconds)
    if CorpusFile.read(open_store(folder / "small")) is None:
        _build(corpus, folder / "small", [])
    if CorpusFile.read(open_store(corpus.stored)) is None:
        _multiply(open_store(folder / "small"), open_store(corpus.stored), clips)
    if not corpus.files.is_dir():
        _as_files(corpus)
    return corpus


def prepare_originals(
    corpus: Corpus,
    forms: Iterable[str] = tuple(ORIGINALS),
    seconds: float = 30.0,
    videos: int | None = None,
) -> None:
    """Encode the originals, or the first few, in some resolutions; takes minutes the first time."""
    for form in forms:
        _encode_originals(corpus, form, seconds, videos)


def lengthened(corpus: Corpus, original: Path, minutes: float) -> Path:
    """Return a video, alone in its folder, that repeats an original of half a minute.

    It is not encoded again, and ends with an original, so that its pictures stay equally far apart.
    """
    name = f"{original.parent.name}-{original.stem}-{minutes:g}-minutes"
    path = corpus.folder / "long" / name / "video.mp4"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial_path = path.with_name(".video.mp4")
        words = ["ffmpeg", "-v", "error", "-nostdin", "-y"]
        words += ["-stream_loop", str(round(2 * minutes) - 1), "-i", str(original)]
        words += ["-c", "copy", str(partial_path)]
        subprocess.run(words, check=True)
        partial_path.rename(path)
    return path


def prepare_small_clips(folder: Path, *, clips: int, short_side_px: int) -> Path:
    """Return a corpus of small clips, for measurements that do not depend on their size."""
    corpus, out = Corpus(folder=folder), folder / f"stored-{short_side_px}px"
    if short_side_px == 256:
        return prepare_corpus(folder, clips=clips).stored
    if CorpusFile.read(open_store(out)) is None:
        folder.mkdir(parents=True, exist_ok=True)
        _encode_originals(corpus, next(iter(ORIGINALS)), 30.0)
        small = folder / f"small-{short_side_px}px"
        _build(corpus, small, ["--encode.short_side_px", str(short_side_px)])
        _multiply(open_store(small), open_store(out), clips)
    return out


def _encode_originals(corpus: Corpus, form: str, seconds: float, videos: int | None = None) -> None:
    """Encode one video of each phantom source: x264 medium, CRF 20, a keyframe every 250 frames."""
    folder = corpus.originals / form
    folder.mkdir(parents=True, exist_ok=True)
    manifest = render_corpus(corpus.folder / "phantom", seed=0, minutes=2.0)

    # One video of each source, of its first case.
    firsts = {
        path.parent.name: path
        for path in sorted(manifest.parent.glob("*/*case01.*"))
        if path.suffix != ".csv"
    }

    width, height, fps = ORIGINALS[form]
    fitted = f"scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height}"

    for source, video in islice(firsts.items(), videos):
        path = folder / f"{source.removeprefix('phantom-')}.mp4"
        if path.exists():
            continue
        partial = path.with_name(f".{path.name}")

        # Repeat the video up to the wanted length.
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-stream_loop",
            "-1",
            "-i",
            str(video),
            "-t",
            str(seconds),
            "-an",
        ]
        command += ["-vf", f"{fitted},noise=alls={NOISE}:allf=t,fps={fps}", "-pix_fmt", "yuv420p"]
        command += [
            "-c:v",
            "libx264",
            "-preset",
            "medium",
            "-crf",
            "20",
            "-g",
            "250",
            "-f",
            "mp4",
            str(partial),
        ]

        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        partial.rename(path)


def _build(corpus: Corpus, out: Path, options: list[str]) -> None:
    """Build the first form of the originals with the tool, into clips of 10 s."""
    originals = sorted((corpus.originals / next(iter(ORIGINALS))).glob("*.mp4"))
    rows = [f"{path},{path.stem},laparoscopy,{path.stem},train" for path in originals]
    manifest = corpus.folder / "videos.csv"
    manifest.write_text(
        "\n".join(["path,source,domain,case,split", *rows]) + "\n", encoding="utf-8"
    )

    program = Path(sysconfig.get_path("scripts")) / "surgrec-shard"
    build = [
        str(program),
        "build",
        "--manifest",
        str(manifest),
        "--out",
        str(out),
        "--public",
        "true",
        "--encode.clip_s",
        "10",
        *options,
    ]
    subprocess.run(build, check=True, stdin=subprocess.DEVNULL)


def _multiply(small: Store, out: Store, clips: int) -> None:
    """Copy the clips of a small corpus until there are enough, each with distinct bytes and key."""
    sources = open_corpus([small.address])
    entries = {}

    for name, source in sources.items():
        originals = [source.index.sample(row) for row in range(source.index.num_rows)]
        videos = {
            sample.key: source.store.read_range(_file(sample), sample.mp4_offset, sample.mp4_size)
            for sample in originals
        }

        # Pack copies until the source is as large as wanted.
        copies = _copies(originals, videos, -(-clips // len(sources)))
        shards, samples = _write_shards(name, copies, Path(out.address))
        entry = write_source(
            out,
            name,
            samples=[samples],
            shards=shards,
            labels=[],
            dropped=[],
            videos_failed=source.entry.videos_failed,
            plan=source.entry.plan,
        )
        entries[name] = settle_tables(out, name, entry)

    # Only the new shards and tables stay.
    for file in list(unlisted_files(out, entries)):
        out.delete(file)

    small_file = CorpusFile.read(small)
    assert small_file is not None, "it was opened above"
    replace(small_file, sources=entries).write(out)


def _copies(
    originals: list[Sample], videos: dict[str, bytes], count: int
) -> Iterator[tuple[Clip, bytes]]:
    """Yield clips in random order, each made distinct by a free box, which players skip."""
    order = random.Random(0).sample(range(count), count)
    for number in order:
        sample = originals[number % len(originals)]
        video = hashlib.sha256(f"{sample.clip.video} {number}".encode()).hexdigest()[:12]
        box = (24).to_bytes(4, "big") + b"free" + number.to_bytes(16, "big")
        yield replace(sample.clip, video=video, case=video), videos[sample.key] + box


def _write_shards(
    name: str, copies: Iterator[tuple[Clip, bytes]], root: Path
) -> tuple[list[Shard], list[Sample]]:
    (root / name).mkdir(parents=True, exist_ok=True)
    shards: list[Shard] = []
    samples: list[Sample] = []
    writer: ShardWriter | None = None

    for clip, mp4 in copies:
        if writer is None:
            file = shard_name(name, "train", 0, len(shards))
            writer = ShardWriter(root / name / file)
        writer.add(clip, [], mp4)
        if writer.num_bytes >= SHARD_BYTES:
            shards.append(writer.close())
            samples += writer.samples
            writer = None

    if writer is not None:
        shards.append(writer.close())
        samples += writer.samples
    return shards, samples


def _as_files(corpus: Corpus) -> None:
    partial = corpus.files.with_name("files.partial")
    partial.mkdir(exist_ok=True)
    for source in open_corpus([corpus.stored]).values():
        for row in range(source.index.num_rows):
            sample = source.index.sample(row)
            mp4 = source.store.read_range(_file(sample), sample.mp4_offset, sample.mp4_size)
            (partial / f"{sample.key}.mp4").write_bytes(mp4)
    partial.rename(corpus.files)


def _file(sample: Sample) -> str:
    return f"{sample.clip.source}/{sample.shard}"
