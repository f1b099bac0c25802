"""Open the encoder of an extraction."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch

from surgrec.encoders import is_preset, near_presets
from surgrec.errors import ConfigError, MissingError, cut
from surgrec.features.interface import VideoEncoder
from surgrec.features.own_encoder import open_own_encoder
from surgrec.ranges import Range, Seed, check_ranges


@dataclass(frozen=True, kw_only=True)
class EncoderChoice:
    """The choice of an encoder and of its frame rate."""

    path: Path
    """Folder of a run, an encoder file, or a preset: `preset:NAME`, NAME, `timm:MODEL` or a YAML
    file."""
    weights: Path | None = None
    """Local file of a preset's weights."""
    random_seed: Seed | None = None
    """Replace the weights with random ones from this seed: the baseline that training must beat."""
    fps: Annotated[float, Range(0, 1000, above=True)] | None = None
    """Frames per second within a window. Default: the rate of the encoder's training."""
    num_frames: Annotated[int, Range(1, 65_536)] | None = None
    """Frames of a window, for presets that take any number. Default: that of the preset."""

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
    _refuse_graphs(choice)
    named = is_preset(str(choice.path))
    if named and (choice.path.suffix == ".yaml" or not choice.path.exists()):
        # timm takes a second to import, and encoders of SurgRec do without these parts of it.
        from surgrec.features._preset_encoder import open_preset_encoder

        return open_preset_encoder(
            str(choice.path),
            weights,
            device,
            random_seed=seed,
            fps=fps,
            num_frames=choice.num_frames,
        )
    _refuse_misspelled(choice.path)
    if weights is not None:
        raise ConfigError(
            f"--weights {weights} belongs to a preset, and --encoder is {choice.path}; remove it, "
            "or name a preset (`surgrec encoders` lists them)"
        )
    if choice.num_frames is not None:
        raise ConfigError(f"{choice.path} states its frames itself; leave out num_frames")
    return open_own_encoder(choice.path, device, random_seed=seed, fps=fps)


def _refuse_misspelled(path: Path) -> None:
    """Refuse a word that is no file, but nearly the name of a preset."""
    near = near_presets(str(path)) if len(path.parts) == 1 and not path.exists() else []
    if near:
        raise MissingError(
            f"{cut(str(path))} does not exist, and no preset has this name; did you mean "
            f"{' or '.join(near)}? (`surgrec encoders` lists presets)"
        )


def _refuse_graphs(choice: EncoderChoice) -> None:
    """Refuse files of torch.export, and an ONNX file without its description."""
    for path in filter(None, (choice.path, choice.weights)):
        if path.suffix == ".pt2":
            raise ConfigError(
                f"{path} is a file of torch.export, which torch reads by unpickling, so that it "
                "could run any code; export the model to ONNX as docs/encoders.md says"
            )
    if choice.path.suffix == ".onnx":
        raise ConfigError(
            f"--encoder {choice.path} does not state its frames and preprocessing; write them into "
            f"a YAML file as docs/encoders.md says, and give --encoder FILE.yaml --weights "
            f"{choice.path}"
        )
