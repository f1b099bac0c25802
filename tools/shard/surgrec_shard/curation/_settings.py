"""The settings of curation."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

from surgrec.config_values import as_plain
from surgrec.errors import ConfigError, shown
from surgrec.manifest import Split
from surgrec.ranges import Range, check_ranges
from surgrec.recordings import Recording, RecordingFacts
from surgrec.recordings.view import Box, parse_boxes
from surgrec_shard.curation._listed import REASON, ListedStretch
from surgrec_shard.curation._model import FrameModel
from surgrec_shard.curation._view import CuratedView, find_view

_CURATION_VERSION = 1
"""Raise it with every change here that changes which frames are dropped."""


@dataclass(frozen=True, kw_only=True)
class CurateSettings:
    """Which stretches of a video are not stored. By default all are."""

    black: bool = False
    """Drop stretches in which nearly the whole picture is black."""
    white: bool = False
    """Drop stretches in which nearly the whole picture is white."""
    constant: bool = False
    """Drop stretches in which nearly the whole picture has one color."""
    frozen: bool = False
    """Drop stretches in which the picture does not change."""
    blurred: bool = False
    """Drop stretches in which the picture is blurred."""
    shots: bool = False
    """Begin a new clip at every shot cut; needs PySceneDetect."""
    min_drop_s: Annotated[float, Range(1, 86_400)] = 3.0
    """Shortest stretch that is dropped, seconds."""
    black_level: Annotated[float, Range(0, 1)] = 0.08
    """Brightness that 98 % of the pixels of a black picture have at most, 0 to 1."""
    white_level: Annotated[float, Range(0, 1)] = 0.92
    """Brightness that 98 % of the pixels of a white picture have at least, 0 to 1."""
    frozen_change: Annotated[float, Range(0, 1)] = 0.0015
    """Mean change of brightness in half a second that a frozen picture has at most, 0 to 1."""
    blur_limit: Annotated[float, Range(0, 1)] = 0.65
    """Blur from which a picture is blurred, as in the index: 0 sharp, 1 without detail."""
    crop: Literal["none", "border", "circle"] = "none"
    """Cut off empty margins: black borders, or all outside the circular field of a scope."""
    max_cut: Annotated[float, Range(0, 1)] = 0.8
    """Largest share of the picture that a crop may cut off; a larger one is not made."""
    mask: str = ""
    """Boxes that are painted black, such as names: `x,y,width,height;...`, pixels of the video."""
    model: Path | None = None
    """ONNX model that gives a picture per second a score, such as a filter of times outside the
    body; docs/curation.md describes its input and output."""
    model_drop: Literal["above", "below", "none"] = "above"
    """Scores of the stretches that are dropped, relative to `model_threshold`; none: drop none."""
    model_threshold: Annotated[float, Range(-(10**9), 10**9)] = 0.5
    """Score from which a stretch is dropped; or, with below, up to which."""
    model_class: Annotated[int, Range(-1, 99_999)] = -1
    """For a model with several logits per picture: number of the class whose probability is the
    score, from 0."""
    model_name: str = ""
    """Word for the finding of the model, published as the reason `model:WORD`."""
    overlays: Literal["off", "report", "mask"] = "off"
    """Look for text and logos that stay: show them in the private report, or paint them black."""
    splits: tuple[Split, ...] = ("train",)
    """Stored splits whose videos lose stretches; evaluation needs the videos as they are."""

    def __post_init__(self) -> None:
        check_ranges(self)
        parse_boxes(self.mask, "curate.mask")
        if self.model_name and not REASON.fullmatch(self.model_name):
            raise ConfigError(
                f"model_name is {shown(self.model_name)}; give one word of lower-case letters, "
                "digits, '_' and '-', which is published"
            )
        if self.model is None:
            self._require_no_model_options()

    def _require_no_model_options(self) -> None:
        for each in fields(self):
            if each.name.startswith("model_") and getattr(self, each.name) != each.default:
                raise ConfigError(
                    f"{each.name} is {getattr(self, each.name)}, but there is no model; give "
                    "--curate.model"
                )

    @property
    def drops(self) -> bool:
        """Whether pictures can be a reason to drop a stretch."""
        by_measures = self.black or self.white or self.constant or self.frozen or self.blurred
        return by_measures or self.drops_by_model

    @property
    def drops_by_model(self) -> bool:
        """Whether the score of a model can be a reason to drop a stretch."""
        return self.model is not None and self.model_drop != "none"

    def of_split(self, split: Split) -> "CurateSettings":
        """Return the settings for a video of this stored split."""
        if split in self.splits:
            return self
        kept = replace(self, black=False, white=False, constant=False, frozen=False)
        kept = replace(kept, blurred=False, shots=False)
        return replace(kept, model_drop="none") if self.model else kept

    def open_model(self) -> FrameModel | None:
        """Return the model, or None if there is none.

        Raises:
            SetupError: ONNX Runtime is not installed.
            ConfigError: The model cannot be used.
        """
        return FrameModel(self.model, self.model_class) if self.model else None

    def changes(self, model: FrameModel | None = None) -> dict[str, object]:
        """Return the settings that are not the defaults, as JSON, for `corpus.json`.

        Args:
            model: The opened model, of which the SHA-256 is told, not the path.

        Raises:
            SetupError: A package that they need is not installed.
        """
        values, defaults = as_plain(self), as_plain(CurateSettings())
        values["model"] = model.sha256 if model else None
        # A report changes nothing that is stored, so it may begin and end at any time.
        values["overlays"] = "mask" if self.overlays == "mask" else "off"
        changed = {
            f"curate.{name}": value for name, value in values.items() if value != defaults[name]
        }
        # Other versions may find other cuts, and a corpus never mixes two.
        return changed | ({"curate.shots": shot_detector()} if self.shots else {})

    def digest_with(self, encoding: str, model: FrameModel | None = None) -> str:
        """Return the digest of an encoding with this curation; of none, that of the encoding."""
        changes = self.changes(model)
        if not changes:
            return encoding
        text = json.dumps([_CURATION_VERSION, encoding, changes], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class Curation:
    """The curation of one video."""

    settings: CurateSettings = CurateSettings()
    listed: tuple[ListedStretch, ...] = ()
    """Stretches that are dropped in any case."""

    masks: tuple[Box, ...] = ()
    """Boxes of this video that are painted black, beside those of the settings."""
    model: FrameModel | None = None
    """The model of the settings."""

    def view(self, recording: Recording, facts: RecordingFacts) -> CuratedView:
        """Return the view of the video.

        Raises:
            BadVideoError: The file cannot be decoded.
            FfmpegError: ffmpeg cannot decode the file.
        """
        settings = self.settings
        masks = (*parse_boxes(settings.mask, "curate.mask"), *self.masks)
        return find_view(
            recording,
            facts,
            masks,
            crop=settings.crop,
            max_cut=settings.max_cut,
            overlays=settings.overlays,
        )

    def identity(self, settings: CurateSettings) -> str:
        """Return a digest of the video's own lists, masks and settings; empty: it has none."""
        listed = [asdict(stretch) for stretch in self.listed]
        own = [self.settings != settings, listed, *map(str, self.masks)]
        if not any(own):
            return ""
        return hashlib.sha256(json.dumps(own).encode("utf-8")).hexdigest()[:12]


def shot_detector() -> str:
    """Return the name and the version of the package that finds shot cuts.

    Raises:
        SetupError: It is not installed.
    """
    from surgrec_shard.curation._shots import DETECTOR  # PySceneDetect is an optional extra

    return DETECTOR


def own_config(config: str, curation: str) -> str:
    """Return the digest of the encoding of one video.

    Args:
        config: Digest of the encoding settings of its source.
        curation: Digest of the video's own curation; empty: none.
    """
    return hashlib.sha256(f"{config} {curation}".encode()).hexdigest()[:12] if curation else config
