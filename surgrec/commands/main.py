"""The console script `surgrec`: features, evaluate, report, export, import. Thin: parse, call, print."""

from pathlib import Path
from typing import Literal

from rich.console import Console

from surgrec.cli import Command, run
from surgrec.commands.mix import mix
from surgrec.commands.order import order
from surgrec.errors import SetupError
from surgrec.terminal import SOME_FAILED, progress_bars


def main() -> None:
    """Entry point of `surgrec`."""
    commands = {
        "mix": Command(function=mix, positional="corpus", many=True),
        "order": Command(function=order, positional="corpus", many=True),
        "features": Command(function=features, positional="data", many=True),
        "evaluate": Command(function=evaluate, positional="corpus", many=True),
        "report": Command(function=report, positional="run_dirs", many=True),
        "export": Command(function=export, positional="run"),
        "import": Command(function=import_, positional="path"),
    }
    run("surgrec", commands)


def features(
    data: list[str],
    *,
    encoder: Path,
    out: Path,
    stride_s: float = 1.0,
    fps: float | None = None,
    batch: int = 16,
    precision: Literal["no", "bf16"] = "no",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    processes: int = 1,
    random_seed: int | None = None,
) -> int:
    """Features of all videos of corpora, or of a folder of video files. A killed command continues when it runs again.

    Exit status 0: every window has its features; 3: the others have, and features.json says which have not and why.

    Args:
        data: One or several corpus roots; or one folder of video files, whose names then stand in the two tables.
        encoder: Folder of a run, or an encoder file that SurgRec saved.
        out: Folder for the features: a file per video, windows.parquet, features.json.
        stride_s: Seconds from one window to the next.
        fps: Frames per second of the video in a window. Default: as in the encoder's training.
        batch: Windows per forward pass.
        precision: Autocast of the forward passes.
        device: Where the encoder runs; auto takes GPUs where there are any.
        processes: Videos at once, each in a process of its own; they take turns on the GPUs.
        random_seed: Fresh weights from this seed in place of the encoder's: the baseline that training must beat.
    """
    try:
        from surgrec.features import (
            EncoderChoice,
            ExtractConfig,
            extract,
        )  # here, so that `surgrec --help` does not wait for torch
    except ModuleNotFoundError as error:
        raise SetupError(
            f"{error.name} is not installed, which features need: pip install 'surgrec[train]'"
        ) from None
    choice = EncoderChoice(path=encoder, random_seed=random_seed, fps=fps)
    config = ExtractConfig(
        stride_s=stride_s, batch=batch, precision=precision, device=device, processes=processes
    )
    windows = computed = failed = 0
    with progress_bars() as bars:
        bar = bars.add_task("videos", visible=False)
        for video in extract(data, choice, config, out):
            windows, failed = windows + video.windows, failed + video.failed
            computed += 0 if video.was_there else video.windows
            rate = f"videos, {computed / (bars.tasks[bar].elapsed or 1.0):.1f} windows/s"
            bars.update(
                bar, completed=video.done, total=video.total, description=rate, visible=True
            )
    left_out = f"; {failed} left out, features.json says why" if failed else ""
    Console(stderr=True, soft_wrap=True).print(
        f"features: {out}, {windows} windows{left_out}", markup=False
    )
    return SOME_FAILED if failed else 0


def evaluate(
    corpus: list[str],
    *,
    encoder: Path,
    task: str,
    split: Path,
    out: Path | None = None,
    allow_pretraining_overlap: bool = False,
    stride_s: float = 1.0,
    fps: float | None = None,
    batch: int = 16,
    precision: Literal["no", "bf16"] = "no",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    processes: int = 1,
) -> int:
    """Scores of an encoder's features on held-out cases, beside random weights and chance. Killed, it continues when it runs again.

    Exit status 0: every window was used; 3: the scores stand, but some windows could not be read.

    Args:
        corpus: One or several corpus roots.
        encoder: Folder of a run, or an encoder file that SurgRec saved.
        task: The labels to predict, such as phase.
        split: YAML file that says which cases are train and which are test.
        out: Folder for evaluation.json, predictions.parquet and the features. Default: RUN/evaluation/TASK.
        allow_pretraining_overlap: Go on when the encoder was pretrained on test cases; the result shows it.
        stride_s: Seconds from one window to the next.
        fps: Frames per second of the video in a window. Default: as in the encoder's training.
        batch: Windows per forward pass.
        precision: Autocast of the forward passes.
        device: Where the encoder runs; auto takes GPUs where there are any.
        processes: Videos at once, each in a process of its own; they take turns on the GPUs.
    """
    try:
        from surgrec.evaluation import print_evaluation, read_split
        from surgrec.evaluation import (
            run as evaluation,
        )  # here, so that `surgrec --help` does not wait for torch
        from surgrec.features import EncoderChoice, ExtractConfig
    except ModuleNotFoundError as error:
        raise SetupError(
            f"{error.name} is not installed, which this needs: pip install 'surgrec[train]'"
        ) from None
    request = evaluation.EvaluationConfig(
        corpora=corpus,
        encoder=EncoderChoice(path=encoder, fps=fps),
        task=task,
        split=read_split(split),
        out=out or evaluation.default_folder(encoder, task),
        extract=ExtractConfig(
            stride_s=stride_s, batch=batch, precision=precision, device=device, processes=processes
        ),
        allow_pretraining_overlap=allow_pretraining_overlap,
    )
    audited = evaluation.audited(request)
    with progress_bars() as bars:
        shown = {name: bars.add_task(f"videos, {name}", total=None) for name in audited.encoders}
        for name, video in evaluation.extract_features(audited):
            bars.update(shown[name], completed=video.done, total=video.total)
    with Console(stderr=True).status("classifying by kNN and logistic regression"):
        record = evaluation.evaluate(audited)
    print_evaluation(record, Console())
    Console(stderr=True, soft_wrap=True).print(f"evaluation: {request.out}", markup=False)
    return SOME_FAILED if any(part["failed"] for part in record["counts"].values()) else 0


def report(run_dirs: list[str], out: Path = Path("report.html")) -> None:
    """One page about one or several runs, without a request to the outside.

    Args:
        run_dirs: Folders of the runs.
        out: The HTML file to write.
    """
    try:
        from surgrec.report import (
            write_report,
        )  # here, so that `surgrec --help` does not wait for torch
    except ModuleNotFoundError as error:
        raise SetupError(
            f"{error.name} is not installed, which a report needs: pip install 'surgrec[train]'"
        ) from None
    write_report([Path(run_dir) for run_dir in run_dirs], out)
    Console(stderr=True, soft_wrap=True).print(f"report: {out}", markup=False)


def export(
    run: str,
    *,
    format: Literal["hf", "timm", "vjepa", "videomae", "surgrec"],
    out: Path,
    decoder: bool = False,
) -> None:
    """An encoder as another project reads it, with its license and provenance. What would not be faithful is refused.

    hf is a folder for transformers' AutoModel, timm a folder for timm.create_model; the others are PyTorch files.

    Args:
        run: Folder of a run, or an encoder file; its predictor or decoder goes along where the format has one.
        format: For whom: hf, timm, vjepa, videomae, or surgrec for the fine-tuner of the SurgRec release.
        out: The folder or file to write.
        decoder: An MAE's decoder goes to hf too, for AutoModelForPreTraining; AutoModel then warns of unexpected names.
    """
    try:
        from surgrec.convert import (
            export_weights,
        )  # here, so that `surgrec --help` does not wait for torch
        from surgrec.training import read_saved_weights
    except ModuleNotFoundError as error:
        raise SetupError(
            f"{error.name} is not installed, which an export needs: pip install 'surgrec[train]'"
        ) from None
    saved = read_saved_weights(Path(run))
    license = saved.weights.origin.license
    written = export_weights(
        saved.weights, format, out, saved.provenance, license, with_decoder=decoder
    )
    Console(stderr=True, soft_wrap=True).print(f"export: {out}, {written}", highlight=False)


def import_(
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
) -> None:
    """A published model as an encoder file of ours, for features, evaluate, export and the recipes. Nothing in it is run.

    Args:
        path: A .pth, .pt, .pth.tar or .safetensors file, or a folder with a config.json.
        out: The encoder file to write, ending in .safetensors.
        format: What the file is; auto tells it from the names in it. SurgRec's files look like others: say surgrec.
        num_heads: Attention heads, for a size that is not published.
        num_frames: Frames of a clip. Default: the file's, or the published ones.
        crop_px: Side of a frame. Default: the file's, or the published one.
        tubelet_size: Frames of a tubelet, which only an image model does not say. Default: 2.
        positions: Needed where a V-JEPA file has a table of positions: sincos3d for version 1, rope for version 2.
        predictor_heads: Attention heads of a JEPA's predictor whose width is not the published 384.
        predictor_depth: Its blocks, where they are not as many as published.
        decoder_heads: Attention heads of an MAE's decoder, for a width that is not published.
        decoder_depth: Its blocks, where they are not as many as published.
        sampling_fps: Frames per second of video in a clip. Default: the published rate.
        license: Of the weights (SPDX). Default: its model card's, or that of the project that publishes such files.
    """
    try:
        from surgrec.convert import (
            ImportOptions,
            import_weights,
            read_external,
        )  # here, so that `surgrec --help` does not wait for torch
    except ModuleNotFoundError as error:
        raise SetupError(
            f"{error.name} is not installed, which an import needs: pip install 'surgrec[train]'"
        ) from None
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
    )
    said = import_weights(read_external(Path(path), format, options), out, sampling_fps)
    for line in said:
        Console(stderr=True, soft_wrap=True).print(f"import: {line}", highlight=False)
