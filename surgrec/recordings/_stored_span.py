"""One decoded span of a long recording in a folder, for a decoding on another machine."""

import os
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from surgrec.recordings._ffmpeg import FfmpegError
from surgrec.recordings._recording import BadVideoError
from surgrec.recordings._span_events import Chosen, Decoded, Decoder, Print, SpanEvents, Spans
from surgrec.recordings.decoders import DecodersDisagreeError

EVENTS_FILE = "events.npz"
"""File of a stored span that is written last."""
_EVENTS = frozenset(("pictures", "decoded_us", "chosen_us", "seam_us", "seam", "finding"))
"""Its arrays."""
_PICTURES_FILE = "pictures"
_DIGEST_BYTES = 16


def store_span(
    spans: Spans,
    number: int,
    start: Callable[[float | None], AbstractContextManager[Decoder]],
    folder: Path,
) -> None:
    """Decode a span, and store its events and pictures; or why several decoders disagree.

    Both files are on the disk when it returns.

    Args:
        spans: The spans of the recording.
        number: The span.
        start: Starts a decoder.
        folder: An empty folder.

    Raises:
        BadVideoError: The file cannot be read for now, or needs too much memory or time.
        OSError: The disk is full.
    """
    events = SpanEvents(spans, number, lambda following: False)
    decoded_us, chosen_us, finding = [], [], ""
    with (folder / _PICTURES_FILE).open("wb") as pictures:
        try:
            with start(events.first.seek_s) as decoder:
                for event in events.of(decoder):
                    if isinstance(event, Chosen):
                        chosen_us.append(event.container_us)
                        pictures.write(event.data)
                    else:
                        decoded_us.append(event.container_us)
        except BadVideoError as error:
            if error.may_pass:
                raise
            finding = str(error)
        except (FfmpegError, DecodersDisagreeError) as error:
            finding = str(error)
        pictures.flush()
        os.fsync(pictures.fileno())

    digests = b"".join(digest for _, digest in events.seam)
    with (folder / EVENTS_FILE).open("wb") as file:
        np.savez(
            file,
            pictures=np.array([events.first.first, spans.end(number)]),
            decoded_us=np.array(decoded_us, dtype=np.int64),
            chosen_us=np.array(chosen_us, dtype=np.int64),
            seam_us=np.array([time_us for time_us, _ in events.seam], dtype=np.int64),
            seam=np.frombuffer(digests, dtype=np.uint8).reshape(-1, _DIGEST_BYTES),
            finding=np.array(finding),
        )
        file.flush()
        os.fsync(file.fileno())


class StoredLane:
    """The events of a stored span, as those of a decoder.

    Args:
        spans: The spans of the recording.
        number: The span.
        folder: Its folder.
        picture_bytes: Size of each picture.

    Raises:
        DecodersDisagreeError: It is not this span.
    """

    def __init__(self, spans: Spans, number: int, folder: Path, picture_bytes: int) -> None:
        self._bytes, self._stored = picture_bytes, _read(folder)
        self._pictures = (folder / _PICTURES_FILE).open("rb")
        self.ends_early = spans.end(number) < len(spans.times_s)
        """Whether it ends before the recording."""
        self.seam: deque[Print] = deque(
            (time_us, digest.tobytes())
            for time_us, digest in zip(
                self._stored["seam_us"].tolist(), self._stored["seam"], strict=True
            )
        )
        """Wanted pictures behind its end."""

        of_span = [spans.spans[number].first, spans.end(number)]
        size = (folder / _PICTURES_FILE).stat().st_size
        is_whole = size == picture_bytes * len(self._stored["chosen_us"])
        if self._stored["pictures"].tolist() != of_span or not is_whole:
            self.close()
            raise DecodersDisagreeError(f"the stored span {number} is not that of this recording")

    def events(self, meanwhile: Callable[[], None]) -> Iterator[Decoded | Chosen]:
        """Yield the events.

        Args:
            meanwhile: Is called again and again.

        Raises:
            DecodersDisagreeError: The decoder of the span found something else than its packets.
            OSError: The disk cannot be read.
        """
        chosen = deque(self._stored["chosen_us"].tolist())
        for time_us in self._stored["decoded_us"].tolist():
            yield Decoded(time_us, is_corrupt=False, follows_error=False)
            if chosen and chosen[0] == time_us:
                meanwhile()
                yield Chosen(chosen.popleft(), self._pictures.read(self._bytes))
        if finding := str(self._stored["finding"]):
            raise DecodersDisagreeError(finding)
        if chosen:
            raise DecodersDisagreeError("a stored span has pictures at times of no decoded one")

    def stop(self) -> None:
        """Do nothing: no decoder runs."""

    def close(self) -> None:
        """Close the file of the pictures."""
        self._pictures.close()


def _read(folder: Path) -> dict[str, Any]:
    try:
        with np.load(folder / EVENTS_FILE, allow_pickle=False) as stored:
            events = dict(stored)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DecodersDisagreeError(f"a stored span cannot be read: {error}") from None
    if missing := _EVENTS - events.keys():
        found = f"it lacks {', '.join(sorted(missing))}"
        raise DecodersDisagreeError(f"a stored span cannot be read: {found}")
    return events
