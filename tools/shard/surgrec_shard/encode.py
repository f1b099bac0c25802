"""Encoding: one video becomes clips as mp4 files, in one pass of ffmpeg with one thread."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from surgrec.errors import ConfigError, StorageError
from surgrec.json_files import read_json, typed
from surgrec.ranges import Range, check_ranges
from surgrec.recordings import (
    BadVideoError,
    FfmpegError,
    FileIdentity,
    PictureReader,
    Recording,
    RecordingFacts,
    inspect,
    read_error,
    shortfall_s,
)
from surgrec.recordings.decoders import Decoders, DecodersDisagreeError
from surgrec.recordings.picture_files import PictureFiles, open_recording
from surgrec.recordings.view import View
from surgrec.text import counted
from surgrec_shard.attempts import attempt
from surgrec_shard.clip_writer import ClipWriter, EncodedClip, FrameFormat
from surgrec_shard.curation import CuratedView, Curation, Curator
from surgrec_shard.disk import writing_to
from surgrec_shard.encoder import encoder_versions
from surgrec_shard.sampling import Sampler
from surgrec_shard.stored_form import StoredForm, form_of

_CLIPS_FILE = "clips.json"
_ENCODING_VERSION = 7
"""Raise it with every change here that changes the bytes of a clip. Builds then start again."""
_MOST_PLACES = 10
"""Damaged places or shot cuts that a note lists."""
OVERLAYS_PICTURE = "overlays.png"
"""Picture of a video with its static overlays, in the folder of its clips. It may show names."""
UNREAD_END = "unread_end"
"""Reason of a stretch behind the end: a part of the file that is missing or cannot be read."""
_NOTES = {"gap": "the file has no pictures there", "damaged": "they cannot be decoded"}
"""Reasons of missing stretches in the private report."""


@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """How clips are stored. The defaults decode fast: short GOPs, no B-frames, few frames."""

    short_side_px: Annotated[int, Range(16, 8192)] = 256
    """Length of the shorter side, pixels; smaller videos keep their size."""
    fps: Annotated[float, Range(0, 1000)] = 8.0
    """Stored frames per second of video, at most the native rate; 0 keeps the native rate."""
    clip_s: Annotated[float, Range(0, 86_400, above=True)] = 16.0
    """Seconds per clip; 16 hold 64 frames at 4 per second. The last clip of a stretch may be
    longer, by less than `min_clip_s`."""
    min_clip_s: Annotated[float, Range(0, 86_400, above=True)] = 4.0
    """Shortest clip, seconds; a shorter rest is joined to the clip before it, if there is one."""
    crf: Annotated[int, Range(0, 51)] = 23
    """x264 quality, 0 to 51: a lower value gives better and larger clips."""
    preset: Literal["ultrafast", "veryfast", "fast", "medium", "slow"] = "medium"
    """x264 effort."""
    tune: Literal["fastdecode", "film", "none"] = "fastdecode"
    """x264 tuning."""
    gop: Annotated[int, Range(1, 100_000)] = 8
    """Frames from one keyframe to the next."""
    b_frames: Annotated[int, Range(0, 16)] = 0
    """Consecutive B-frames."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.short_side_px % 2:
            raise ConfigError(f"short_side_px is {self.short_side_px}; give an even number")
        if self.min_clip_s > self.clip_s:
            raise ConfigError(
                f"min_clip_s is {self.min_clip_s:g} and clip_s is {self.clip_s:g}; give a "
                "min_clip_s that is not larger"
            )

    def form_of(self, facts: RecordingFacts, view: View) -> StoredForm:
        """Return the form in which a view of a recording is stored."""
        return form_of(facts, view, short_side_px=self.short_side_px, fps=self.fps)

    def digest(self) -> str:
        """Return 12 hex digits that change with any setting and with the ffmpeg or x264 version."""
        text = json.dumps([_ENCODING_VERSION, asdict(self), encoder_versions()], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class DroppedStretch:
    """A stretch of a video without clips, seconds."""

    start_s: float
    end_s: float
    reason: str
    """`short_tail`, `gap` (no pictures in the file), `damaged` (undecodable), `unread_end`, or a
    reason of curation."""


@dataclass(frozen=True, kw_only=True)
class StaticOverlays:
    """Text and logos that stay over a whole video, found in a few of its pictures."""

    boxes: list[str]
    """`x,y,width,height` of each, pixels of the video."""
    unclear: str
    """Why they cannot be told; empty: they can."""
    width: int
    height: int
    """Size of the video, pixels."""


@dataclass(frozen=True, kw_only=True)
class EncodedVideo:
    """The clips of a video."""

    folder: Path
    clips: list[EncodedClip]
    fps: float
    width: int
    height: int
    native_fps: float
    native_width: int
    native_height: int
    crop: str
    """The stored part of the native frame, `x,y,width,height`."""
    end_s: float
    """End of the video, seconds."""
    dropped: list[DroppedStretch]
    """Stretches without clips."""
    complaints: int
    """Number of damaged places that the decoder skipped."""
    notes: list[str]
    """Sentences for the private report."""
    overlays: StaticOverlays | None = None
    """None: they were not looked for. If there are any, `OVERLAYS_PICTURE` shows them."""
    decoders: int = 1
    """Most decoders that worked on it at once."""


Accept = Callable[[float, float], None]
"""Called with the length of a video, seconds, and its rate, 1/s. Raises BadVideoError."""


def encode_video(
    path: Path,
    settings: EncodeSettings,
    folder: Path,
    identity: FileIdentity | None = None,
    accept: Accept = lambda end_s, fps: None,
    pictures: PictureFiles | None = None,
    curation: Curation = Curation(),
    decoders: Decoders | None = None,
    facts: RecordingFacts | None = None,
) -> EncodedVideo:
    """Encode a video into a folder, which appears complete or not at all.

    Args:
        path: The video file, or the folder of its pictures.
        settings: How clips are stored.
        folder: Folder for the clips. If it exists, its clips are read and nothing is encoded.
        identity: Identity of the file when it was hashed.
        accept: Judges the length of the video: before it is encoded, and afterwards again.
        pictures: The pictures, if the video is given as such.
        curation: Which stretches are not stored.
        decoders: Lends further decoders for a long video. The clips are the same with any number.
        facts: Properties of the recording, if they are known.

    Raises:
        BadVideoError: The file has changed, is not a video, is truncated, is shorter than the
            shortest clip, is not accepted, or curation leaves no clip of it.
        StorageError: The disk is full.
    """
    if is_spooled(folder):
        encoded = _read(folder)
    else:
        with open_recording(path, pictures) as recording:
            recording.require_unchanged(identity)
            try:
                encoded = _encode_into(
                    recording, settings, folder, accept, curation, decoders, facts
                )
            except BadVideoError as error:
                recording.require_unchanged()  # else the change is the reason
                if not error.may_pass:
                    _require_again(error, recording, settings, folder, accept, curation, decoders)
                raise
    accept(encoded.end_s, encoded.native_fps)
    return encoded


def look_for_overlays(
    path: Path,
    picture: Path,
    identity: FileIdentity | None,
    pictures: PictureFiles | None,
    curation: Curation,
) -> StaticOverlays | None:
    """Look for the static overlays of a video without encoding it.

    Args:
        path: The video file, or the folder of its pictures.
        picture: Where to write the picture that shows them, if there are any.
        identity: Identity of the file when it was hashed.
        pictures: The pictures, if the video is given as such.
        curation: Whether to look, and which masks are known.

    Returns:
        The overlays; None: the curation does not look for them.

    Raises:
        BadVideoError: The file has changed, or cannot be decoded.
        StorageError: The disk is full.
    """
    with open_recording(path, pictures) as recording:
        recording.require_unchanged(identity)
        facts = inspect(recording)
        with writing_to(picture.parent):
            return _write_overlays(_view(curation, recording, facts), facts, picture)


def is_spooled(folder: Path) -> bool:
    """Return whether a folder has the clips of a video."""
    return (folder / _CLIPS_FILE).is_file()


def spool_video(folder: Path, fill: Callable[[Path], EncodedVideo]) -> EncodedVideo:
    """Return the clips of a video in a folder, which appears complete or not at all.

    Args:
        folder: Folder for the clips. If it exists, its clips are read.
        fill: Writes the clips into another folder, which then gets this name.

    Raises:
        StorageError: The disk is full.
    """
    if is_spooled(folder):
        return _read(folder)

    with attempt(folder) as partial:
        encoded = fill(partial)
        text = json.dumps({**asdict(encoded), "folder": ""})
        with writing_to(folder.parent):
            (partial / _CLIPS_FILE).write_text(text, encoding="utf-8")
            try:
                partial.rename(folder)
            except OSError:
                # Another process may have been faster: its clips have the same bytes.
                if not is_spooled(folder):
                    raise

    return _read(folder)


def _encode_into(
    recording: Recording,
    settings: EncodeSettings,
    folder: Path,
    accept: Accept,
    curation: Curation,
    decoders: Decoders | None,
    facts: RecordingFacts | None = None,
) -> EncodedVideo:
    facts = facts or inspect(recording)

    def fill(partial: Path, decoders: Decoders | None = decoders) -> EncodedVideo:
        encoded = _encode(recording, facts, settings, partial, curation, decoders)
        recording.require_unchanged()
        return encoded

    def fill_anew(partial: Path) -> EncodedVideo:
        encoded = fill(partial, None)
        return replace(encoded, notes=[*encoded.notes, f"decoded anew by one decoder: {found}"])

    try:
        accept(facts.duration_s, facts.fps)
        try:
            return spool_video(folder, fill)
        except DecodersDisagreeError as error:
            found = str(error)
        if decoders is not None:
            decoders.stop_sharing()
        return spool_video(folder, fill_anew)
    except BadVideoError as error:
        if not facts.choice:
            raise
        # The reason may lie in the choice of the stream.
        detail = f"{error} ({facts.choice})"
        raise BadVideoError(error.reason, detail, may_pass=error.may_pass) from None


def _require_again(
    judgment: BadVideoError,
    recording: Recording,
    settings: EncodeSettings,
    folder: Path,
    accept: Accept,
    curation: Curation,
    decoders: Decoders | None,
) -> None:
    """Check that a second try ends as the first one did. A hidden read error would not recur.

    Raises:
        BadVideoError: It ends otherwise, so a later try may succeed.
    """
    try:
        _encode_into(recording, settings, folder, accept, curation, decoders)
        finding = "a second try had no error"
    except BadVideoError as error:
        if str(error) == str(judgment):
            return
        finding = str(error)
    raise read_error(f"{judgment}, but then: {finding}")


def _encode(
    recording: Recording,
    facts: RecordingFacts,
    settings: EncodeSettings,
    folder: Path,
    curation: Curation,
    decoders: Decoders | None,
) -> EncodedVideo:
    if facts.is_cut:
        raise _truncated(facts.duration_s, facts.stated_s or facts.duration_s)
    curated = _view(curation, recording, facts)
    with writing_to(folder.parent):
        overlays = _write_overlays(curated, facts, folder / OVERLAYS_PICTURE)
    form = settings.form_of(facts, curated.view)
    frames = form.frames

    # One pass: pictures become frames, and frames become clips.
    sampler = Sampler(timeline=facts.timeline, rate=frames.rate, picture_rate=form.picture_rate)
    try:
        with writing_to(folder.parent), Curator(curation, frames, folder) as curator:
            reader = PictureReader(
                recording,
                facts,
                size=form.size,
                rate=form.picture_rate,
                view=form.view,
                decoders=decoders,
                folder=folder,
            )
            segments = _write_clips(reader, sampler, curator, frames, settings, folder)
    except FfmpegError as error:
        raise _undecodable(error) from None

    # A video that ends before its last picture is a truncated copy.
    if facts.duration_s - sampler.end_s > shortfall_s(facts.duration_s):
        raise _truncated(sampler.end_s, facts.duration_s)
    clips, dropped = _select_clips(segments, sampler, curator, settings)
    if facts.unread:
        # Its length is unknown.
        end_s = max([sampler.end_s, *(stretch.end_s for stretch in dropped)])
        dropped.append(DroppedStretch(start_s=end_s, end_s=end_s, reason=UNREAD_END))
    if not clips and (curator.dropped or curator.cuts_s):
        raise curator.refusal(settings.min_clip_s)
    if not clips and sampler.missing:
        raise BadVideoError(
            "undecodable",
            f"damage or gaps leave no {settings.min_clip_s:g} s in a row; copy the file again, or "
            "lower encode.min_clip_s",
        )
    if not clips:
        raise BadVideoError(
            "too_short",
            f"the video lasts {sampler.end_s:.1f} s, but the shortest clip is "
            f"{settings.min_clip_s:g} s; lower encode.min_clip_s to use it",
        )
    return EncodedVideo(
        folder=folder,
        clips=clips,
        fps=float(frames.rate),
        width=frames.width,
        height=frames.height,
        native_fps=facts.fps,
        native_width=facts.width,
        native_height=facts.height,
        crop=str(form.shown),
        end_s=max(sampler.end_s, clips[-1].start_s + clips[-1].duration_s, curator.end_s),
        dropped=dropped,
        complaints=reader.complaints,
        notes=[
            *facts.notes,
            *curated.notes,
            *_shot_notes(curator.cuts_s),
            *(_note(stretch) for stretch in dropped if stretch.reason in _NOTES),
            *_damage_notes(reader.damaged_s, facts),
        ],
        decoders=reader.decoders_used,
        overlays=overlays,
    )


def _view(curation: Curation, recording: Recording, facts: RecordingFacts) -> CuratedView:
    try:
        return curation.view(recording, facts)
    except FfmpegError as error:
        raise _undecodable(error) from None


def _write_overlays(
    curated: CuratedView, facts: RecordingFacts, picture: Path
) -> StaticOverlays | None:
    """Return the overlays of a view, and write the picture that shows them."""
    seen = curated.overlays
    if seen is None:
        return None
    if seen.boxes:
        seen.write_picture(picture)
    return StaticOverlays(
        boxes=[str(box) for box in seen.boxes],
        unclear=seen.unclear,
        width=facts.width,
        height=facts.height,
    )


def _write_clips(
    reader: PictureReader,
    sampler: Sampler,
    curator: Curator,
    frames: FrameFormat,
    settings: EncodeSettings,
    folder: Path,
) -> list[EncodedClip]:
    """Decode the recording once, and return all of its written clips, also those too short."""
    clips: list[EncodedClip] = []
    with reader as pictures, ExitStack() as stack:
        writer: ClipWriter | None = None
        for shown in curator.kept(sampler.frames(pictures)):
            if shown.starts:
                if writer is not None:
                    clips += writer.close()
                    stack.close()
                writer = stack.enter_context(
                    ClipWriter(
                        folder,
                        frames,
                        encoder_options(settings),
                        clip_s=settings.clip_s,
                        min_clip_s=settings.min_clip_s,
                        first_frame=shown.first,
                        first_clip=len(clips),
                    )
                )
            assert writer is not None
            writer.write(shown.data, shown.count)

        if writer is not None:
            clips += writer.close()
        return clips


def _select_clips(
    segments: list[EncodedClip], sampler: Sampler, curator: Curator, settings: EncodeSettings
) -> tuple[list[EncodedClip], list[DroppedStretch]]:
    """Divide the written clips into those to keep and dropped stretches; add all others."""
    shortest_s = settings.min_clip_s - 0.5 / float(sampler.rate)
    clips = []
    dropped = [DroppedStretch(**asdict(missing)) for missing in sampler.missing]
    dropped += [DroppedStretch(**asdict(stretch)) for stretch in curator.dropped]
    for clip in segments:
        if clip.duration_s >= shortest_s:
            clips.append(curator.measured(clip))
        else:
            end_s = round(clip.start_s + clip.duration_s, 6)
            dropped.append(DroppedStretch(start_s=clip.start_s, end_s=end_s, reason="short_tail"))
    return clips, sorted(dropped, key=lambda stretch: stretch.start_s)


def _undecodable(error: FfmpegError) -> BadVideoError:
    return BadVideoError("undecodable", f"ffmpeg cannot decode the file: {error}")


def _truncated(found_s: float, expected_s: float) -> BadVideoError:
    found = f"only {found_s:.1f} s of {expected_s:.1f} s can be decoded"
    if expected_s < found_s + 0.1:
        found = f"the end of the file is missing, behind {found_s:.1f} s"
    return BadVideoError("truncated", f"{found}; copy the file again")


def _note(stretch: DroppedStretch) -> str:
    return f"{stretch.start_s:.2f} to {stretch.end_s:.2f} s are left out: {_NOTES[stretch.reason]}"


def _shot_notes(cuts_s: Sequence[float] | None) -> Iterator[str]:
    """Yield a sentence about the shot cuts, if they were looked for."""
    if cuts_s is None:
        return
    places = ", ".join(f"{cut_s:.2f}" for cut_s in cuts_s[:_MOST_PLACES])
    more = f" and {len(cuts_s) - _MOST_PLACES} more" if len(cuts_s) > _MOST_PLACES else ""
    yield f"{counted(len(cuts_s), 'shot cut')}{f' at {places} s{more}' if cuts_s else ''}"


def _damage_notes(times_s: list[float], facts: RecordingFacts) -> Iterator[str]:
    """Yield a sentence about the places at which the decoder complained."""
    if not times_s:
        return
    places = sorted({round(time_s) for time_s in times_s})
    listed = ", ".join(map(str, places[:_MOST_PLACES]))
    more = f" and {len(places) - _MOST_PLACES} more" if len(places) > _MOST_PLACES else ""
    rest = "; the file has no timestamps: the rest is left out" if facts.timeline.is_bare else ""
    yield f"damaged data near {listed} s{more}: pictures may be missing there{rest}"


def encoder_options(settings: EncodeSettings) -> list[str]:
    """Return ffmpeg's options of the encoder. Its bytes do not depend on the processor."""
    tune = ["-tune", settings.tune] if settings.tune != "none" else []
    return [
        *("-c:v", "libx264", "-preset", settings.preset, "-crf", str(settings.crf)),
        *("-threads", "1", "-x264-params", "cpu-independent=1"),
        *("-a53cc", "0"),  # closed captions are stored inside the picture data
        *tune,
        *("-bf", str(settings.b_frames), "-g", str(settings.gop), "-sc_threshold", "0"),
    ]


def _read(folder: Path) -> EncodedVideo:
    path = folder / _CLIPS_FILE
    remedy = f"remove the folder {folder} and build again"
    row = read_json(path, dict, error=StorageError, remedy=remedy)
    row["folder"] = str(folder)
    return typed(row, EncodedVideo, str(path), error=StorageError, remedy=remedy)
