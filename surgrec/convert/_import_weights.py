"""Import external weights: write them to an encoder file, and describe them to the user."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from surgrec import __version__
from surgrec.convert._pretrained import NO_LICENSE_STATED, Pretrained, SkippedTensors
from surgrec.convert.native import save_pretrained
from surgrec.errors import ConfigError
from surgrec.ranges import Range

_FPS = Range(0, 1000, above=True)
_LICENSE_SOURCES = {
    "given": "as given",
    "note": "as recorded by surgrec export",
    "model card": "from its model card",
    "format": "that of the project that publishes files of this format; if these weights have "
    "another, give --license (in a recipe --init_license)",
}


def import_weights(weights: Pretrained, out: Path, sampling_fps: float | None) -> list[str]:
    """Write external weights to an encoder file, with everything that recipes and exports need.

    Args:
        weights: The weights, from `read_external`.
        out: The `.safetensors` file.
        sampling_fps: Frames per second of video in a clip. None for the published rate: 4 for
            V-JEPA 2; 7.5, every fourth frame of 30 per second, for V-JEPA 1 and VideoMAE.

    Returns:
        Lines for a reader: networks, license, assumed values and skipped tensors.

    Raises:
        CheckpointError: The file cannot be written.
        ConfigError: The rate is out of its range.

    Example:
        >>> weights = read_external(Path("vitb.pth"), "videomae", ImportOptions())
        >>> import_weights(weights, Path("vitb.safetensors"), sampling_fps=None)[0]
        'vitb.safetensors: encoder and decoder of vitb.pth, format videomae, entry model'
    """
    if sampling_fps is not None and sampling_fps not in _FPS:
        raise ConfigError(f"sampling_fps is {sampling_fps}; give {_FPS} frames per second")
    fps = sampling_fps or (4.0 if weights.encoder.config.positions == "rope" else 7.5)
    provenance = {
        "init_from": asdict(weights.origin),
        "config": {"sampling_fps": fps},
        "drawn": {"sources": {}},  # an import draws nothing; init_from has the draws of the file
        "surgrec": __version__,
    }
    save_pretrained(weights, out, provenance)

    assumed = dict(weights.assumed) | ({} if sampling_fps else {"sampling_fps": fps})
    first, *more = describe_import(
        replace(weights, assumed=assumed), kept="kept for an export, not used"
    )
    return [f"{out}: {first}", *more]


def describe_import(weights: Pretrained, *, kept: str) -> list[str]:
    """Describe weights to a reader: networks, license, assumed values and unused tensors.

    Args:
        weights: The weights, from `read_external`.
        kept: How to introduce unused tensors that an export to the same format restores.

    Returns:
        The lines.
    """
    origin, config = weights.origin, weights.encoder.config
    networks = " and ".join(["encoder", *weights.heads])
    entry = f", entry {origin.key}" if origin.key else ""
    lines = [
        f"{networks} of {origin.name}, format {origin.format}{entry}",
        f"encoder: {len(weights.encoder.state)} tensors, width {config.width}, {config.depth} "
        f"blocks, {config.num_heads} heads, clips of {config.num_frames} frames of "
        f"{config.crop_px} px",
    ]
    for name, head in weights.heads.items():
        lines.append(
            f"{name}: {len(head.state)} tensors, width {head.config.width}, "
            f"{head.config.depth} blocks"
        )
    lines.append(_describe_license(weights))
    if origin.pretraining:
        lines.append(f"trained on, as stated: {', '.join(origin.pretraining['data'])}")

    if weights.assumed:
        values = ", ".join(f"{name} {value}" for name, value in weights.assumed.items())
        lines.append(f"not in the file, published values assumed: {values}")
    lines += _describe_skipped(kept, (entry for entry in origin.left_out if entry.kept))
    lines += _describe_skipped("left out", (entry for entry in origin.left_out if not entry.kept))
    return lines


def _describe_license(weights: Pretrained) -> str:
    license, source = weights.origin.license, weights.origin.license_from
    if license == NO_LICENSE_STATED:
        return (
            f"license {license}: the publisher of these weights states none; ask the publisher, "
            "then give --license (in a recipe --init_license)"
        )
    if license is None:
        return "license: none recorded, the weights were trained from scratch"
    return f"license {license}" + (f", {_LICENSE_SOURCES[source]}" if source else "")


def _describe_skipped(label: str, entries: Iterable[SkippedTensors]) -> list[str]:
    """Return one line for all entries with the same reason."""
    by_reason: dict[str, list[SkippedTensors]] = {}
    for entry in entries:
        by_reason.setdefault(entry.why, []).append(entry)

    lines = []
    for why, group in by_reason.items():
        names = ", ".join(entry.name for entry in group)
        count = sum(entry.tensors for entry in group)
        lines.append(f"{label}: {names} ({count} tensor{'' if count == 1 else 's'}): {why}")
    return lines
