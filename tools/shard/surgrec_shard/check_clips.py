"""Checks of single clips: their bytes, metadata and pictures agree with the index."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from surgrec.errors import ShardError
from surgrec.recordings import BadVideoError, FfmpegError, Recording, run_ffprobe
from surgrec.shards import Sample
from surgrec.shards.frame_clock import read_frame_clock
from surgrec.shards.layout import checksum, read_clip_json


def check_member(row: dict[str, Any], sample: Sample, path: Path) -> Iterator[str]:
    """Compare the JSON and the mp4 of a sample, as webdataset reads them, with the index."""
    if not {"json", "mp4"} <= row.keys():
        yield f"{sample.key}: its json or its mp4 is missing"
        return

    if hashlib.sha256(row["mp4"]).hexdigest() != sample.sha256:
        yield f"{sample.key}: the mp4 does not have the digest of the index"
    elif sample.xxh3_64 is not None and checksum(row["mp4"]) != sample.xxh3_64:
        yield f"{sample.key}: the mp4 does not have the checksum xxh3_64 of the index"
    elif sample.clock and read_frame_clock(row["mp4"], sample.clip.num_frames) != sample.clock:
        yield f"{sample.key}: the mp4 does not have the clock of the index"
    elif _read_mp4(path, sample) != row["mp4"]:
        yield f"{sample.key}: the mp4 is not at the offset of the index"

    try:
        clip, _ = read_clip_json(row["json"], sample.key)
    except ShardError as error:
        yield str(error)
    else:
        if clip != sample.clip:
            yield f"{sample.key}: the json differs from the index"


def _read_mp4(path: Path, sample: Sample) -> bytes:
    """Return the bytes of the shard at the mp4's offset in the index."""
    with path.open("rb") as file:
        file.seek(max(sample.mp4_offset, 0))
        return file.read(sample.mp4_size)


def check_decodes(path: Path, sample: Sample, copy: Path) -> Iterator[str]:
    """Decode a clip, and compare its streams, frame size and frames with the index."""
    copy.write_bytes(_read_mp4(path, sample))
    entries = "stream=codec_type,width,height,nb_read_frames,time_base:packet=pts"
    try:
        with Recording(copy) as recording:
            arguments = ["-count_frames", "-show_entries", entries, "-of", "json"]
            output = run_ffprobe(recording, arguments)
    except (BadVideoError, FfmpegError) as error:
        yield f"{sample.key}: the mp4 cannot be decoded ({error})"
        return

    found = json.loads(output)
    streams = [
        (
            stream["codec_type"],
            stream.get("width"),
            stream.get("height"),
            int(stream.get("nb_read_frames", 0)),
        )
        for stream in found["streams"]
    ]
    expected = [("video", sample.clip.width, sample.clip.height, sample.clip.num_frames)]
    if streams != expected:
        listed = " and ".join(
            f"a {kind} stream of {width} x {height} pixels and {frames} frames"
            for kind, width, height, frames in streams
        )
        clip = sample.clip
        yield (
            f"{sample.key}: the mp4 has {listed or 'no stream'}, but the index lists "
            f"{clip.width} x {clip.height} pixels and {clip.num_frames} frames"
        )
    elif sample.clock:
        times = [packet.get("pts") for packet in found["packets"]]
        stated = [frame * sample.clock.ticks for frame in range(sample.clip.num_frames)]
        is_same = found["streams"][0]["time_base"] == f"1/{sample.clock.timescale}"
        if not is_same or times != stated:
            yield f"{sample.key}: the frames of the mp4 are not at the times of the index"
