"""A foreign file as an encoder file of ours, with all its weights, that says where they are from and under which license."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from surgrec import __version__
from surgrec.convert._pretrained import UNSTATED, Pretrained, SkippedTensors
from surgrec.convert.native import save_pretrained

_SOURCES = {
    "given": "as given",
    "note": "as it was exported",
    "model card": "by its model card",
    "format": "of the project that publishes such files; give --license (in a recipe --init_license) if this one is "
    "another's",
}


def import_weights(weights: Pretrained, out: Path, sampling_fps: float | None) -> list[str]:
    """Writes foreign weights to a file of ours: the encoder, and what else the file has for recipes and exports.

    Args:
        weights: From `read_external`.
        out: The `.safetensors` file.
        sampling_fps: Frames per second of video in a clip; None for the published rate: 4 of V-JEPA 2, every fourth frame of
            30 in a second of V-JEPA 1 and VideoMAE.

    Returns:
        What was taken, assumed and left out, a line each, for a reader.

    Raises:
        CheckpointError: The file cannot be written.
    """
    fps = sampling_fps or (4.0 if weights.encoder.config.positions == "rope" else 7.5)
    provenance = {
        "init_from": asdict(weights.origin),
        "config": {"sampling_fps": fps},
        "surgrec": __version__,
    }
    save_pretrained(weights, out, provenance)
    assumed = dict(weights.assumed) | ({} if sampling_fps else {"sampling_fps": fps})
    first, *more = describe_import(
        replace(weights, assumed=assumed), kept="kept for an export, not used"
    )
    return [f"{out}: {first}", *more]


def describe_import(weights: Pretrained, *, kept: str) -> list[str]:
    """What a file of weights has, a line each, for a reader: networks and their license, what was assumed, what was left out.

    Args:
        weights: As they were read.
        kept: What is said of tensors that no network here has and an export to the same format needs.
    """
    origin, config = weights.origin, weights.encoder.config
    heads = (("predictor", weights.predictor), ("decoder", weights.decoder))
    lines = [
        f"{weights.contents} of {origin.name} as {origin.format}{f', from its {origin.key}' if origin.key else ''}; the "
        f"encoder has {len(weights.encoder.state)} tensors, width {config.width}, {config.depth} blocks, {config.num_heads} "
        f"heads, clips of {config.num_frames} frames of {config.crop_px} px",
        *(
            f"its {name} has {len(part.state)} tensors, width {part.config.width}, {part.config.depth} blocks"
            for name, part in heads
            if part
        ),
        _license_line(weights),
    ]
    if weights.assumed:
        values = ", ".join(f"{name} {value}" for name, value in weights.assumed.items())
        lines.append(f"not in the file, so as published: {values}")
    return (
        lines
        + _lines(kept, (entry for entry in origin.left_out if entry.kept))
        + _lines("left out", (entry for entry in origin.left_out if not entry.kept))
    )


def _license_line(weights: Pretrained) -> str:
    origin = weights.origin
    if origin.license == UNSTATED:
        return (
            f"license {UNSTATED}: whoever published these weights states none; ask them, and give --license (in a recipe "
            "--init_license)"
        )
    return f"license {origin.license or 'unknown'}{f' ({_SOURCES[origin.license_from]})' if origin.license_from else ''}"


def _lines(word: str, entries: Iterable[SkippedTensors]) -> list[str]:
    """Entries with one reason together."""
    by_reason: dict[str, list[SkippedTensors]] = {}
    for entry in entries:
        by_reason.setdefault(entry.why, []).append(entry)
    return [
        f"{word}: {', '.join(entry.name for entry in same)} ({sum(entry.tensors for entry in same)} tensors): {why}"
        for why, same in by_reason.items()
    ]
