"""Which decoded pictures show their own time. The sharding tool and `features` share this rule."""

import math

from surgrec.recordings._packets import MISSING_PICTURES, PAUSE_S, UNUSUAL
from surgrec.recordings._timeline import Timeline

_HAIR_S = 2e-3
"""Containers round times; Matroska rounds to milliseconds."""


class PictureJudge:
    """Judges the pictures of a recording, in the order in which a decoder returns them.

    A picture is trusted if it was decoded from sound data. Behind a hole in the packets, and behind
    lost pictures, a decoder continues from pictures of another time: there the next trusted picture
    is one with which a decoder can begin. Behind damage in a raw stream no picture is trusted:
    nothing tells its time. A picture that is a file of its own depends on no other.

    Args:
        timeline: The clock of the recording.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._sound_s = self._decoded_s = -1.0
        self._first_s = math.inf
        self._resume_s = 0.0

    def trusts(self, time_s: float, is_corrupt: bool, follows_error: bool = False) -> bool:
        """Return whether the next picture shows its own time.

        Args:
            time_s: When it appears, seconds of the video.
            is_corrupt: Whether it was decoded from damaged data.
            follows_error: Whether the decoder complained since the picture before.
        """
        timeline, before_s = self._timeline, self._sound_s
        if timeline.is_separate:
            # Of several pictures since the last decoded one, a complaint is about a lost one.
            is_own = not timeline.count_keys_between(self._decoded_s, time_s)
            self._decoded_s = time_s
            return not (is_corrupt or (follows_error and is_own))
        lost = timeline.count_between(before_s, time_s)
        if timeline.is_bare and before_s >= 0:
            # A decoder may skip pictures beside the first keyframe, but no later ones.
            skips = lost >= MISSING_PICTURES and before_s > self._first_s + PAUSE_S
            if is_corrupt or skips or (follows_error and lost):
                self._resume_s = math.inf
        if is_corrupt:
            return False
        self._sound_s = max(before_s, time_s)
        self._first_s = min(self._first_s, time_s)
        is_late = (time_s - max(before_s, 0.0)) * timeline.average_rate >= UNUSUAL
        half_s = 0.5 / float(timeline.rate)
        if lost >= MISSING_PICTURES or (lost and is_late):
            self._resume_s = max(self._resume_s, timeline.next_key_s(time_s - half_s))
        return time_s >= self._resume_s - half_s and not timeline.is_doubtful(time_s + _HAIR_S)
