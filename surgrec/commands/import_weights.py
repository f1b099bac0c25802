"""`surgrec import`: a published checkpoint as an encoder file."""

from pathlib import Path
from typing import Literal

from surgrec.commands._train_extra import train_extra
from surgrec.terminal import escape, say


def import_weights(
    path: str,
    *,
    out: Path,
    format: Literal["auto", "vjepa", "videomae", "hf", "timm", "surgrec"] = "auto",
    num_heads: int | None = None,
    num_frames: int | None = None,
    crop_px: int | None = None,
    tubelet_size: int | None = None,
    positions: Literal["rope", "sincos", "sincos3d"] | None = None,
    predictor_heads: int | None = None,
    predictor_depth: int | None = None,
    decoder_heads: int | None = None,
    decoder_depth: int | None = None,
    sampling_fps: float | None = None,
    license: str | None = None,
    pretraining_data: list[str] | None = None,
) -> None:
    """Convert a published checkpoint to an encoder file. No code in the checkpoint is executed.

    `surgrec features`, `evaluate` and `export` and the recipes read the encoder file.

    Args:
        path: A .pth, .pt, .pth.tar or .safetensors file, or a folder with a config.json.
        out: Encoder file to write, ending in .safetensors.
        format: Format of the checkpoint; auto detects it from tensor names. Give surgrec
            for checkpoints of the SurgRec release: they look like other formats.
        num_heads: Number of attention heads, if the encoder has no published size.
        num_frames: Frames per clip. Default: as in the file, or as published.
        crop_px: Height and width of a frame. Default: as in the file, or as published.
        tubelet_size: Frames per tubelet, for an image model from timm. Default: 2.
        positions: Position encoding of a V-JEPA file with a position table: sincos3d for
            version 1, rope for version 2.
        predictor_heads: Number of attention heads of a JEPA predictor whose width is not 384.
        predictor_depth: Number of predictor blocks, if different from the published model.
        decoder_heads: Number of attention heads of an MAE decoder with an unpublished width.
        decoder_depth: Number of decoder blocks, if different from the published model.
        sampling_fps: Frames per second within a clip. Default: the published rate.
        license: SPDX license of the weights. Default: from the model card, or that of the
            project that publishes the format.
        pretraining_data: Names of the data sets that the weights were trained on, such as
            '[Cholec80]', which the audit of `surgrec evaluate` compares with test sources. Default:
            those of the project that publishes the format, if it states them.

    Example:
        surgrec import vitl.pt --out vjepa2_vitl16.safetensors
    """
    with train_extra():
        from surgrec.convert import ImportOptions, read_external
        from surgrec.convert import import_weights as convert

    options = ImportOptions(
        num_heads=num_heads,
        num_frames=num_frames,
        crop_px=crop_px,
        tubelet_size=tubelet_size,
        positions=positions,
        predictor_heads=predictor_heads,
        predictor_depth=predictor_depth,
        decoder_heads=decoder_heads,
        decoder_depth=decoder_depth,
        license=license,
        pretraining_data=pretraining_data,
    )
    for line in convert(read_external(Path(path), format, options), out, sampling_fps):
        say(escape(f"import: {line}"))
