"""Open the encoder of an extraction."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch

from surgrec.encoders import is_preset
from surgrec.errors import ConfigError
from surgrec.features.interface import VideoEncoder
from surgrec.features.own_encoder import open_own_encoder
from surgrec.ranges import Range, Seed, check_ranges


@dataclass(frozen=True, kw_only=True)
class EncoderChoice:
    """The choice of an encoder and of its frame rate."""

    path: Path
    """Folder of a run, an encoder file, or a preset: `preset:NAME`, NAME or a YAML file."""
    weights: Path | None = None
    """Local file of a preset's weights."""
    random_seed: Seed | None = None
    """Replace the weights with random ones from this seed: the baseline that training must beat."""
    fps: Annotated[float, Range(0, 1000, above=True)] | None = None
    """Frames per second within a window. Default: the rate of the encoder's training."""

    def __post_init__(self) -> None:
        check_ranges(self)


def open_encoder(choice: EncoderChoice, device: torch.device) -> VideoEncoder:
    """Load an encoder to a device. The random state of the process does not change.

    Raises:
        MissingError: The run or the file does not exist, or the run has not saved an encoder yet.
        CheckpointError: The file is damaged or not an encoder file, or is older than the newest
            checkpoint of its run.
        ConfigError: The frame rate is neither stored in the file nor given, or the file was
            overwritten while it was being read.
    """
    seed, fps, weights = choice.random_seed, choice.fps, choice.weights
    named = is_preset(str(choice.path))
    if named and (choice.path.suffix == ".yaml" or not choice.path.exists()):
        # timm takes a second to import, and encoders of SurgRec do without these parts of it.
        from surgrec.features._preset_encoder import open_preset_encoder

        return open_preset_encoder(str(choice.path), weights, device, random_seed=seed, fps=fps)
    if weights is not None:
        raise ConfigError(
            f"--weights {weights} belongs to a preset, and --encoder is {choice.path}; remove it, "
            "or name a preset (`surgrec encoders` lists them)"
        )
    return open_own_encoder(choice.path, device, random_seed=seed, fps=fps)


def describe_encoder(facts: Mapping[str, Any]) -> str:
    """Return name and step of an encoder for a message: `jepa, step 300`.

    Args:
        facts: Origin of the encoder, as in `VideoEncoder.facts`, features.json or evaluation.json.
    """
    step = facts["provenance"].get("step")
    return facts["name"] if step is None else f"{facts['name']}, step {step}"
