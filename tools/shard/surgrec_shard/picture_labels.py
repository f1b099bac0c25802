"""Labels of a set of pictures on the clock that begins with its first picture. Pure functions."""

from dataclasses import replace

import numpy as np

from surgrec.annotations import LabelMapping, VideoClock
from surgrec.recordings.picture_files import PictureFiles, usual_step
from surgrec_shard.presets import LabelRule, Preset


def on_pictures(preset: Preset, rule: LabelRule, pictures: PictureFiles) -> LabelMapping:
    """Return the mapping of a rule on the clock of a recording's pictures.

    Args:
        preset: The preset.
        rule: One of its rules of labels.
        pictures: The pictures of the recording, sorted by their numbers.
    """
    mapping, first = rule.mapping, pictures.files[0][0]
    if rule.of_video and not isinstance(mapping.fps, str):
        skipped = round((first - preset.first_picture) / pictures.rate * mapping.fps)
        return replace(mapping, origin=mapping.origin + skipped)
    return _at_pictures(mapping, pictures) if mapping.unit == "frame" else mapping


def picture_clock(pictures: PictureFiles) -> VideoClock:
    """Return when pictures appear. The last one lasts as long as most others."""
    numbers = np.array([number for number, _ in pictures.files], dtype=np.int64)
    times_s = (numbers - numbers[0]) / pictures.rate
    return VideoClock(
        pictures_s=times_s, end_s=float(times_s[-1]) + usual_step(numbers) / pictures.rate
    )


def _at_pictures(mapping: LabelMapping, pictures: PictureFiles) -> LabelMapping:
    """Return a mapping in which the label of a picture holds until the next picture.

    A mapping with a step of its own keeps it: not every picture has a label.
    """
    numbers = np.array([number for number, _ in pictures.files], dtype=np.int64)
    mapping = replace(mapping, origin=mapping.origin + int(numbers[0]), fps=pictures.rate)
    step = usual_step(numbers)
    if not mapping.has_ticks or mapping.every != 1 or mapping.every_s or step == 1:
        return mapping
    grammar = "ticks" if mapping.grammar == "frames" else mapping.grammar
    return replace(mapping, grammar=grammar, every=float(step))
