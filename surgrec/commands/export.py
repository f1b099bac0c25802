"""`surgrec export`: an encoder in another project's format."""

from pathlib import Path
from typing import Literal

from surgrec.commands._train_extra import train_extra
from surgrec.terminal import escape, say


def export(
    run: str,
    *,
    format: Literal["hf", "timm", "vjepa", "videomae", "surgrec"],
    out: Path,
    decoder: bool = False,
) -> None:
    """Write an encoder in another project's format, with its license and provenance.

    An export that would change the model's output is refused. hf is a folder for transformers'
    AutoModel, timm a folder for timm.create_model; the other formats are PyTorch files.

    Args:
        run: Folder of a run, or an encoder file. Its predictor or decoder is exported too, if the
            format has a place for it; for hf, a decoder needs --decoder true.
        format: hf, timm, vjepa, videomae, or surgrec for the fine-tuner of the SurgRec release.
        out: Folder or file to write.
        decoder: Export an MAE's decoder to hf as well, for AutoModelForPreTraining; AutoModel then
            warns about unexpected tensors.

    Example:
        surgrec export runs/jepa --format hf --out vjepa2-surgical
    """
    with train_extra():
        from surgrec.convert import export_weights
        from surgrec.training import read_saved_weights

    saved = read_saved_weights(Path(run))
    license = saved.weights.origin.license
    summary = export_weights(
        saved.weights, format, out, saved.provenance, license, with_decoder=decoder
    )
    say(escape(f"export: {out}, {summary}"))
