"""A foreign encoder as a file of ours, that says where it is from and under which licence."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from surgrec import __version__
from surgrec.models.encoder import Encoder
from surgrec.models.pretrained import Pretrained
from surgrec.models.weights import load_strictly, save_encoder

_SOURCES = {
    "given": "as given",
    "note": "as it was exported",
    "model card": "by its model card",
    "format": "of the project that publishes such files; give --licence if this one is another's",
}
_FOR_RECIPES = "an encoder file has none; a recipe's --init_from takes it from the file itself"


def import_encoder(weights: Pretrained, out: Path, sampling_fps: float | None) -> list[str]:
    """Writes the encoder of foreign weights to a file of ours.

    Args:
        weights: From `read_foreign`.
        out: The `.safetensors` file.
        sampling_fps: Frames per second of video in a clip; None for the published rate: 4 of V-JEPA 2, every fourth frame of
            30 in a second of V-JEPA 1 and VideoMAE.

    Returns:
        What was taken, assumed and left out, a line each, for a reader.

    Raises:
        CheckpointError: The file cannot be written.
    """
    origin, config = weights.origin, weights.encoder.config
    encoder = Encoder(config)
    load_strictly(encoder, weights.encoder.state, origin.name)
    fps = sampling_fps or (4.0 if config.positions == "rope" else 7.5)
    provenance: dict[str, Any] = {"init_from": asdict(origin), "config": {"sampling_fps": fps}, "surgrec": __version__}
    save_encoder(encoder, out, provenance)
    assumed = dict(weights.assumed) | ({} if sampling_fps else {"sampling_fps": fps})
    lines = [
        f"{out}: the encoder of {origin.name} as {origin.format}{f', from its {origin.key}' if origin.key else ''}, "
        f"{len(weights.encoder.state)} tensors, width {config.width}, {config.depth} blocks, {config.num_heads} heads, clips of "
        f"{config.num_frames} frames of {config.crop_px} px",
        f"licence {origin.licence or 'unknown'}{f' ({_SOURCES[origin.licence_from]})' if origin.licence_from else ''}",
    ]
    if assumed:
        values = ", ".join(f"{name} {value}" for name, value in assumed.items())
        lines.append(f"not in the file, so as published: {values}")
    return lines + _left_out_lines(weights)


def _left_out_lines(weights: Pretrained) -> list[str]:
    """Entries with one reason together."""
    tensors: Counter[str] = Counter()
    names: dict[str, list[str]] = {}
    for entry in weights.origin.left_out:
        tensors[entry.why] += entry.tensors
        names.setdefault(entry.why, []).append(entry.name)
    for name, part in (("predictor", weights.predictor), ("decoder", weights.decoder)):
        if part is not None:
            tensors[_FOR_RECIPES] += len(part.state)
            names.setdefault(_FOR_RECIPES, []).append(name)
    return [f"left out: {', '.join(names[why])} ({tensors[why]} tensors): {why}" for why in names]
