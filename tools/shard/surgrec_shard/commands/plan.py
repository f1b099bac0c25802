"""`surgrec-shard plan`: the cost of a build, before it starts."""

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from surgrec.errors import ConfigError
from surgrec.manifest import SharedMetadata, Video, read_manifest
from surgrec.ranges import Range
from surgrec.terminal import escape, print_json, print_result, result_table, say, stage_progress
from surgrec.text import counted
from surgrec_shard.cost import ENCODER_CORE_S_PER_MEGAPIXEL, Bill, Prices, SourceWork, bill
from surgrec_shard.curation import CurateSettings
from surgrec_shard.encode import EncodeSettings
from surgrec_shard.groups import PackSettings
from surgrec_shard.inputs import Inputs
from surgrec_shard.trial import OriginalVideo, read_lengths, work_of_source

_RESOLUTIONS = {
    "480p": (854, 480),
    "576p": (1024, 576),
    "720p": (1280, 720),
    "1080p": (1920, 1080),
    "2160p": (3840, 2160),
}
_CORE_S_PER_MEGAPIXEL = 0.008
"""Seconds of one core per 10^6 pixels of decoded video, with the default settings: 0.0084 for
720p30 and 0.0074 for 1080p25 (`benchmarks/build.py`, two virtual Xeon cores)."""
_STORED_BYTES_PER_S = 60_000.0
"""Assumed bytes of clips per second of video; real video of a scope differs by a factor of two."""


def plan(
    *,
    manifest: Path | None = None,
    videos: Path | None = None,
    preset: str = "",
    protocol: str = "",
    hours: Annotated[float, Range(0, 10**7)] = 0.0,
    resolution: str = "1080p",
    native_fps: Annotated[float, Range(0, 1000, above=True)] = 25.0,
    longest_h: Annotated[float, Range(0, 1000, above=True)] = 6.0,
    samples: Annotated[int, Range(1, 1000)] = 3,
    sample_s: Annotated[float, Range(5, 86_400)] = 60.0,
    nodes: Annotated[int, Range(1, 100_000)] = 1,
    cores_per_node: Annotated[int, Range(0, 4096)] = 0,
    epochs: Annotated[float, Range(0, 10**6)] = 0.0,
    prices: Prices = Prices(),
    encode: EncodeSettings = EncodeSettings(),
    pack: PackSettings = PackSettings(),
    curate: CurateSettings = CurateSettings(),
    json: bool = False,
) -> None:
    """Show the processor time, wall time, bytes and requests that a build will take.

    With --manifest, --videos or --preset, parts of some videos of each source are encoded now, so
    that the figures are those of your files and of this machine. With --hours they come from
    measured rates, which the output names. Nothing is stored.

    Args:
        manifest: As for build.
        videos: As for build; all videos count as one source.
        preset: With --videos: as for build.
        protocol: With --preset: as for build.
        hours: Hours of video, instead of files.
        resolution: With --hours: 480p, 576p, 720p, 1080p, 2160p, or WIDTHxHEIGHT in pixels.
        native_fps: With --hours: frames per second of the originals.
        longest_h: With --hours: longest video, hours.
        samples: Videos of each source to try.
        sample_s: Seconds of each to encode, from its middle.
        nodes: Machines that build parts of the corpus at the same time.
        cores_per_node: Cores of each machine. 0: as many as here.
        epochs: Passes of a training over the corpus, whose reads are part of the bill.
        prices: Prices in any currency. Items without a price are left out.
        encode: How clips are stored.
        pack: How clips are packed into shards.
        curate: Which stretches of a video are not stored.
        json: Print JSON instead of tables.

    Example:
        surgrec-shard plan --manifest videos.csv --nodes 10 --cores_per_node 16
        surgrec-shard plan --hours 2383 --resolution 1080p --prices.core_hour 0.04
    """
    given = [
        name
        for name, value in (("--manifest", manifest), ("--videos", videos), ("--hours", hours))
        if value
    ]
    if len(given) != 1:
        raise ConfigError(
            f"{' and '.join(given) or 'nothing'} given; give one of --manifest FILE, --videos "
            "FOLDER and --hours NUMBER"
        )
    if hours:
        works = [_assumed(hours, resolution, native_fps, longest_h)]
    else:
        originals = _originals(manifest, videos, preset, protocol)
        works = _tried(originals, encode, curate, samples, sample_s)

    total = bill(
        works,
        nodes=nodes,
        cores_per_node=cores_per_node or len(os.sched_getaffinity(0)),
        clip_s=encode.clip_s,
        shard_bytes=pack.shard_bytes,
        prices=prices,
        epochs=epochs,
    )
    if json:
        print_json({"sources": [asdict(work) for work in works], "total": asdict(total)})
    else:
        _print(works, total, nodes)


def _originals(
    manifest: Path | None, videos: Path | None, preset: str, protocol: str
) -> list[OriginalVideo]:
    def tell(line: str) -> None:
        say(escape(line))

    source = "" if preset else "videos"  # a preset has a name of its own
    if manifest is not None:
        chosen: Sequence[Video] = read_manifest(manifest, tell=tell)
    else:
        inputs = Inputs(
            manifest=None,
            videos=videos,
            video_list=None,
            list_unit="s",
            preset=preset,
            protocol=protocol,
            metadata=SharedMetadata(source=source, domain=source),
            include=[],
            exclude=[],
            frame_fps=0.0,
            frames_from="",
            ignore_columns=[],
        )
        chosen = inputs.read(tell).videos
    return read_lengths([(video.source, video.path) for video in chosen], tell)


def _tried(
    originals: list[OriginalVideo],
    encode: EncodeSettings,
    curate: CurateSettings,
    samples: int,
    sample_s: float,
) -> list[SourceWork]:
    sources: dict[str, list[OriginalVideo]] = defaultdict(list)
    for video in originals:
        sources[video.source].append(video)

    works = []
    with stage_progress() as progress:
        for number, (_, members) in enumerate(sorted(sources.items())):
            progress("sources tried", number, len(sources))
            works.append(
                work_of_source(
                    members,
                    encode,
                    curate,
                    samples=samples,
                    sample_s=sample_s,
                    tell=lambda line: say(escape(line)),
                )
            )
        progress("sources tried", len(sources), len(sources))
    return works


def _assumed(hours: float, resolution: str, native_fps: float, longest_h: float) -> SourceWork:
    width, height = _size(resolution)

    # Decoding costs by the pixels of the file, encoding by those that are stored.
    megapixels, form = width * height / 1e6, EncodeSettings()
    stored_size = min(1.0, form.short_side_px / min(width, height))
    stored_megapixels_per_s = megapixels * stored_size**2 * min(form.fps, native_fps)

    return SourceWork(
        source="videos",
        videos=0,
        hours=hours,
        longest_h=min(longest_h, hours),
        bytes_in=0,
        cores=megapixels * native_fps * _CORE_S_PER_MEGAPIXEL,
        encoder_cores=stored_megapixels_per_s * ENCODER_CORE_S_PER_MEGAPIXEL,
        bytes_per_s=_STORED_BYTES_PER_S,
        basis=f"{1000 * _CORE_S_PER_MEGAPIXEL:g} ms of a core per megapixel, measured on two Xeon "
        f"cores with the default settings, and an assumed {_STORED_BYTES_PER_S / 1000:g} kB per "
        "second of video; --manifest measures yours",
    )


def _size(resolution: str) -> tuple[int, int]:
    if resolution in _RESOLUTIONS:
        return _RESOLUTIONS[resolution]
    width, _, height = resolution.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 0 < int(width) * int(height) < 10**9):
        raise ConfigError(
            f"resolution is {resolution!r}; give one of {', '.join(_RESOLUTIONS)}, or WIDTHxHEIGHT "
            "in pixels, such as 720x576"
        )
    return int(width), int(height)


def _print(works: list[SourceWork], total: Bill, nodes: int) -> None:
    table = result_table(
        "Sources",
        left=("source",),
        right=("videos", "hours", "longest, h", "GB", "cores", "kB/s", "core-hours", "GB stored"),
    )
    for work in works:
        table.add_row(
            escape(work.source),
            f"{work.videos or '?'}",
            *(_figure(work.hours), _figure(work.longest_h)),
            _figure(work.bytes_in / 1e9) if work.bytes_in else "?",
            *(f"{work.cores:.2f}", f"{work.bytes_per_s / 1000:.0f}"),
            *(_figure(work.core_hours), _figure(work.bytes_out / 1e9)),
        )
    print_result(table)
    for work in works:
        say(escape(f"{work.source}: from {work.basis}"))

    tail = ""
    if total.tail_hours > 0:
        hours = _figure(total.tail_hours)
        tail = f", and up to about {hours} h more if the longest video is the last"
    read = f"{_figure(total.gb_read)} GB read, " if total.gb_read else ""
    for line in (
        f"{_figure(total.core_hours)} core-hours; {_figure(total.wall_hours)} h on "
        f"{counted(nodes, 'node')}{tail}",
        f"{read}{_figure(total.gb_written)} GB written: {total.clips:,} clips in "
        f"{counted(total.shards, 'shard')}",
        f"{total.puts:,} writing requests; at most {total.gets_per_epoch:,} reading ones per epoch",
    ):
        print_result(escape(line))
    for item, amount in total.prices.items():
        print_result(escape(f"{item}: {amount:,.2f}"))
    if total.prices:
        print_result(f"together: {sum(total.prices.values()):,.2f}")


def _figure(value: float) -> str:
    """Return a positive number with one decimal place, or with two digits if it is below 1."""
    if not 0 < value < 1:
        return f"{value:.1f}"
    return f"{value:.{1 - math.floor(math.log10(value))}f}"
