"""`surgrec evaluate`: scores of a frozen encoder on held-out cases."""

from pathlib import Path
from typing import Literal

from surgrec.commands._train_extra import train_extra
from surgrec.terminal import SOME_FAILED, escape, progress_bars, say, spinner


def evaluate(
    corpus: list[str],
    *,
    encoder: Path,
    task: str,
    split: Path,
    weights: Path | None = None,
    out: Path | None = None,
    allow_pretraining_overlap: bool = False,
    allow_unknown_pretraining: bool = False,
    stride_s: float = 1.0,
    fps: float | None = None,
    allow_repeated_frames: bool = False,
    batch: int = 16,
    precision: Literal["no", "bf16"] = "no",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    processes: int = 1,
) -> int:
    """Score an encoder on held-out cases, and compare it with random weights and with chance.

    To continue a killed evaluation, run the same command again. Exit status 0: every window was
    used. Exit status 3: the scores are complete, but some windows could not be read.

    Args:
        corpus: One or several corpora (folders, or s3://bucket/prefix).
        encoder: Folder of a run, an encoder file, or a preset (`surgrec encoders`).
        task: Labels to predict, such as phase.
        split: YAML file with the rules that select train and test cases.
        weights: Local file of a preset's weights. Nothing is downloaded.
        out: Folder for evaluation.json, predictions.parquet and the features.
            Default: RUN/evaluation/TASK.
        allow_pretraining_overlap: Continue if the encoder was pretrained on test cases; the
            result and every report state it.
        allow_unknown_pretraining: Continue if it is unknown whether the encoder was pretrained
            on test cases, as for weights of other projects; the result and every report state it.
        stride_s: Seconds from the start of one window to the start of the next.
        fps: Frames per second within a window. Default: the rate of the encoder's training.
        allow_repeated_frames: Also use videos with fewer frames per second. Their frames repeat,
            and the result counts these videos.
        batch: Windows per forward pass.
        precision: Autocast type of the forward passes.
        device: Device of the encoder; auto uses the GPUs, or the CPU if there is no GPU.
        processes: Videos processed at once, each in its own process; processes share the GPUs.

    Example:
        surgrec evaluate /data/corpus --encoder runs/jepa --task phase --split phases.yaml
    """
    with train_extra():
        from surgrec.evaluation import (
            EvaluationConfig,
            audit,
            default_folder,
            extract_features,
            print_evaluation,
            read_split,
        )
        from surgrec.evaluation import evaluate as fit_and_score
        from surgrec.features import EncoderChoice, ExtractConfig, describe_encoder

    config = EvaluationConfig(
        corpora=corpus,
        encoder=EncoderChoice(path=encoder, weights=weights, fps=fps),
        task=task,
        split=read_split(split),
        out=out or default_folder(encoder, task),
        extract=ExtractConfig(
            stride_s=stride_s,
            batch=batch,
            precision=precision,
            device=device,
            processes=processes,
            allow_repeated_frames=allow_repeated_frames,
        ),
        allow_pretraining_overlap=allow_pretraining_overlap,
        allow_unknown_pretraining=allow_unknown_pretraining,
    )
    audited = audit(config)

    with progress_bars() as bars:
        tasks = {name: bars.add_task(f"videos, {name}", total=None) for name in audited.encoders}
        for name, video in extract_features(audited):
            bars.update(tasks[name], completed=video.done, total=video.total)
    with spinner("fitting probes"):
        record = fit_and_score(audited)

    print_evaluation(record)
    say(escape(f"evaluation: {config.out}, of {describe_encoder(record['encoder'])}"))
    return SOME_FAILED if any(part["failed"] for part in record["counts"].values()) else 0
