"""Several decoders of one recording return exactly what one decoder returns."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from surgrec.recordings import Picture, PictureReader, Recording, inspect
from surgrec.recordings._span_events import Chosen, Decoded, Span, Spans
from surgrec.recordings._spans import SpanDecoding
from surgrec.recordings.decoders import Decoders, DecodersDisagreeError
from tests.support.clocks import overwrite
from tests.support.videos import make_video

SPAN_S = 2.0
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "20")
X265 = ("-c:v", "libx265", "-x265-params", "log-level=none:keyint=20:bframes=3:open-gop=1")
VARIABLE = ("-vf", r"select=lt(mod(n*7\,10)\,6)", "-fps_mode", "vfr")
OPEN = (*X264, "-x264-params", "open-gop=1:b-pyramid=normal")
INTERLACED = ("-vf", "tinterlace=interleave_top,fieldorder=tff", "-flags", "+ildct+ilme", *X264)


def slowly(*values: tuple[object, ...]) -> list[object]:
    """Return parameters of a slow test."""
    return [pytest.param(*value, marks=pytest.mark.slow) for value in values]


def pictures(path: Path, decoders: Decoders | None, rate: float | None = 8.0) -> list[Picture]:
    """Return all pictures. More than one decoder must work at once where several are given."""
    with Recording(path) as recording:
        facts = inspect(recording)
        with PictureReader(
            recording, facts, size=(48, 32), rate=rate, decoders=decoders, folder=path.parent
        ) as reader:
            found = list(reader)
            assert (reader.decoders_used > 1) == (decoders is not None)
            assert reader.complaints == 0
    return found


@pytest.mark.parametrize(
    ("name", "rate", "arguments", "picture_rate"),
    [
        ("open_gop.mp4", 25, OPEN, 8.0),
        ("variable.mkv", 25, (*VARIABLE, *X264), 8.0),
        ("ntsc.mov", 30000 / 1001, X264, 8.0),
        *slowly(
            ("hevc.mp4", 25, X265, 8.0),
            ("all_open_gop.mkv", 25, OPEN, None),
            ("late.mkv", 25, (*X264, "-output_ts_offset", "100"), 8.0),
            ("interlaced.mp4", 50, INTERLACED, None),
            ("intra.mov", 25, ("-c:v", "mjpeg", "-q:v", "8"), 8.0),
            ("short_gop.mp4", 50, (*X264, "-g", "3"), 8.0),
            ("mpeg2.mp4", 25, ("-c:v", "mpeg2video", "-bf", "2", "-g", "15"), 8.0),
        ),
    ],
)
def test_pictures_are_those_of_one_decoder(
    name: str,
    rate: float,
    arguments: Sequence[str],
    picture_rate: float | None,
    tmp_path: Path,
) -> None:
    video = make_video(tmp_path / name, seconds=7, rate=rate, size="96x64", arguments=arguments)
    several = Decoders(3, span_s=SPAN_S)
    with several.one_for_a_video():
        assert pictures(video, several, picture_rate) == pictures(video, None, picture_rate)
    assert [several.lend() for _ in range(4)] == [True, True, True, False], "all are back"


def test_a_busy_build_lends_no_decoder(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", seconds=7, arguments=X264)
    both = Decoders(2, span_s=SPAN_S)
    with both.one_for_a_video(), both.one_for_a_video(), Recording(video) as recording:
        facts = inspect(recording)
        with PictureReader(
            recording, facts, size=(48, 32), decoders=both, folder=tmp_path
        ) as reader:
            assert len(list(reader)) == 70
            assert reader.decoders_used == 1


@pytest.mark.parametrize(
    "container", ["fragments.mp4", pytest.param("no_index.mkv", marks=pytest.mark.slow)]
)
def test_a_file_without_an_index_has_one_decoder(container: str, tmp_path: Path) -> None:
    options = {"fragments.mp4": ("-movflags", "frag_keyframe"), "no_index.mkv": ("-live", "1")}
    video = make_video(tmp_path / container, arguments=(*X264, *options[container]))
    with Recording(video) as recording:
        facts = inspect(recording)
        several = Decoders(3, span_s=SPAN_S)
        with PictureReader(
            recording, facts, size=(48, 32), decoders=several, folder=tmp_path
        ) as reader:
            assert len(list(reader)) == 80
            assert reader.decoders_used == 1


@pytest.mark.parametrize(
    "kind", ["damaged", pytest.param("without keyframes", marks=pytest.mark.slow)]
)
def test_decoders_that_cannot_agree_say_so(kind: str, tmp_path: Path) -> None:
    refresh = ("-x264-params", "intra-refresh=1", "-bf", "0") if kind != "damaged" else ()
    video = make_video(tmp_path / "v.mp4", seconds=11, arguments=(*X264, *refresh))
    if kind == "damaged":
        overwrite(video, start=0.6, end=0.63)
    with pytest.raises(DecodersDisagreeError):
        pictures(video, Decoders(3, span_s=SPAN_S))


class Painter:
    """A decoder of ten pictures per second that paints the number of each, plus an error."""

    complains_at_end = False

    def __init__(self, numbers: Iterator[int], error: int = 0, is_late: bool = False) -> None:
        self._numbers, self._error, self._is_late = numbers, error, is_late

    def events(self) -> Iterator[Decoded | Chosen]:
        for number in self._numbers:
            time_us = number * 100_000 + self._is_late * 1000
            yield Decoded(time_us, False, False)
            yield Chosen(time_us, bytes([number + self._error]))

    def kill(self) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "is_late", "missing", "reason"),
    [
        (0, False, -1, ""),
        (1, False, -1, "two decoders returned different pictures at 6.000 s"),
        (0, True, -1, "a picture at another time at 6.001 s"),
        (0, False, 70, "a picture at another time at 7.100 s"),
        (0, False, 99, "a decoder ended behind 99 of 100 pictures"),
    ],
)
def test_pictures_of_another_decoder_are_compared(
    error: int, is_late: bool, missing: int, reason: str, tmp_path: Path
) -> None:
    spans = Spans(
        times_s=np.arange(100) / 10,
        spans=(Span(first=0, seam=0, seek_s=None), Span(first=60, seam=70, seek_s=5.2)),
    )

    both = threading.Barrier(2, timeout=60)

    @contextmanager
    def start(seek_s: float | None) -> Iterator[Painter]:
        both.wait()  # else the first decoder would do all of the work
        numbers = (number for number in range(50 if seek_s else 0, 100) if number != missing)
        yield Painter(numbers, error, is_late) if seek_s else Painter(iter(range(100)))

    with SpanDecoding(spans, start, Decoders(2), tmp_path, picture_bytes=1) as decoding:
        if reason:
            with pytest.raises(DecodersDisagreeError, match=reason):
                list(decoding.events())
        else:
            found = [event.data[0] for event in decoding.events() if isinstance(event, Chosen)]
            assert found == list(range(100))
    assert not list(tmp_path.iterdir())


class Elsewhere:
    """The only span is in work in another process, which ends after some looks at its progress."""

    def __init__(self, looks: int, grows: bool) -> None:
        self._looks, self._grows, self.seen = looks, grows, 0

    def stored(self, number: int) -> Path | None:
        return None

    def claim(self, number: int) -> bool:
        return self.seen > self._looks

    def progress(self, number: int) -> int:
        self.seen += 1
        return self.seen if self._grows else 0

    def discard(self) -> None:
        pass


@pytest.mark.parametrize("grows", [True, False])
def test_a_span_of_another_process_is_waited_for_as_long_as_it_grows(
    grows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgrec.recordings._spans._LONGEST_WAIT_S", 0.0)
    monkeypatch.setattr("surgrec.recordings._spans._WAIT_S", 0.01)
    spans = Spans(times_s=np.arange(100) / 10, spans=(Span(first=0, seam=0, seek_s=None),))

    @contextmanager
    def start(seek_s: float | None) -> Iterator[Painter]:
        yield Painter(iter(range(100)))

    shared = Elsewhere(5, grows)
    decoders = Decoders(1, shared=shared)
    with SpanDecoding(spans, start, decoders, tmp_path, picture_bytes=1) as decoding:
        if grows:
            assert sum(isinstance(event, Chosen) for event in decoding.events()) == 100
            assert shared.seen == 6
        else:
            with pytest.raises(DecodersDisagreeError, match="does not go on with its span"):
                list(decoding.events())
