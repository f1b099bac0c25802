"""`surgrec evaluate`: scores of a frozen encoder on held-out cases."""

from pathlib import Path
from typing import Literal

from surgrec.commands._train_extra import train_extra
from surgrec.terminal import SOME_FAILED, escape, print_json, progress_bars, say, spinner
from surgrec.text import as_list


def evaluate(
    corpus: list[str],
    *,
    encoder: Path,
    task: str,
    split: Path,
    task_kind: Literal["classes", "phases", "labels", "triplets", "numbers"] = "classes",
    task_scope: Literal["moment", "video"] = "moment",
    relaxed: Literal["no", "plain", "cholec80", "m2cai16"] = "no",
    phase_order: list[str] | None = None,
    temporal: bool = False,
    few_shot: bool | list[str | int] = False,
    weights: Path | None = None,
    out: Path | None = None,
    allow: str | list[str] = "",
    features: Path | None = None,
    allow_pretraining_overlap: bool = False,
    allow_unknown_pretraining: bool = False,
    stride_s: float = 1.0,
    fps: float | None = None,
    allow_repeated_frames: bool = False,
    batch: int = 16,
    precision: Literal["no", "bf16"] = "no",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    processes: int = 1,
    json: bool = False,
) -> int:
    """Score an encoder on held-out cases, and compare it with random weights and with chance.

    To continue a killed evaluation, run the same command again. Exit status 0: every window was
    used. Exit status 3: the scores are complete, but some windows could not be read.

    Args:
        corpus: One or several corpora (folders, or s3://bucket/prefix).
        encoder: Folder of a run, an encoder file, or a preset (`surgrec encoders`).
        task: Labels to predict, such as phase.
        split: YAML file with the rules that select train and test cases, and maybe val cases.
        task_kind: Kind of the labels: classes (one per window), phases (one at each time, also
            scored per video and per segment), labels (several at a time), triplets
            (instrument,verb,target, several at a time), or numbers (regression).
        task_scope: moment: labels hold for moments, and windows are scored. video: a label holds
            for a whole video, and the mean over its windows is scored.
        relaxed: Rule of relaxed metrics for --task_kind phases. They have names of their own and
            never decide a verdict.
        phase_order: The phases in their usual order, for relaxed metrics: '[a, b, c]'.
        temporal: Also fit causal heads, a TCN and a transformer, on the windows of a video up to
            the present one, for online phase recognition. Takes minutes to hours.
        few_shot: Also fit the probes on few train cases. true: on 1, 3 and 5 cases, and on 10 %
            and 50 % of them. A list such as '[1, 4, 25%]': on these numbers and shares.
        weights: Local file of a preset's weights. Nothing is downloaded.
        out: Folder for evaluation.json, predictions.parquet and the features.
            Default: RUN/evaluation/TASK.
        allow: Name of a finding of `surgrec audit` about the split that does not stop the
            evaluation, such as shared_cases, or a list; the result and every report state them.
        features: Folder of features that evaluations share, one at a time: the same videos,
            encoder and windows are extracted once. Default: the folder features of --out.
        allow_pretraining_overlap: Continue if the encoder was pretrained on test cases, or on
            a published set that shares videos with their sources; the result and every report
            state it.
        allow_unknown_pretraining: Continue if it is unknown whether the encoder was pretrained
            on test cases, as for weights of other projects; the result and every report state it.
        stride_s: Seconds from the start of one window to the start of the next.
        fps: Frames per second within a window. Default: the rate of the encoder's training.
        allow_repeated_frames: Also use videos with fewer frames per second. Their frames repeat,
            and the result counts these videos.
        batch: Windows per forward pass.
        precision: Autocast type of the forward passes.
        device: Device of the encoder and of the probes; auto uses the GPUs, or the CPU if there is
            no GPU. On the CPU, the same inputs give the same bits.
        processes: Videos processed at once, each in its own process; processes share the GPUs.
        json: Print the content of evaluation.json instead of tables.

    Example:
        surgrec evaluate /data/corpus --encoder runs/jepa --task phase --split phases.yaml
    """
    with train_extra():
        from surgrec.evaluation import (
            FEW_SHOT,
            EvaluationConfig,
            TaskChoice,
            audit,
            default_folder,
            extract_features,
            print_evaluation,
            read_split,
        )
        from surgrec.evaluation import evaluate as fit_and_score
        from surgrec.features import EncoderChoice, ExtractConfig
        from surgrec.features.interface import describe_encoder

    config = EvaluationConfig(
        task=TaskChoice(
            corpora=corpus,
            task=task,
            kind=task_kind,
            scope=task_scope,
            split=read_split(split),
            relaxed=relaxed,
            phase_order=phase_order or [],
            allow=tuple(as_list(allow)),
            allow_pretraining_overlap=allow_pretraining_overlap,
            allow_unknown_pretraining=allow_unknown_pretraining,
            allow_repeated_frames=allow_repeated_frames,
        ),
        encoder=EncoderChoice(path=encoder, weights=weights, fps=fps),
        out=out or default_folder(encoder, task),
        temporal=temporal,
        few_shot=FEW_SHOT if few_shot is True else tuple(map(str, few_shot or ())),
        features=features,
        extract=ExtractConfig(
            stride_s=stride_s,
            batch=batch,
            precision=precision,
            device=device,
            processes=processes,
            allow_repeated_frames=allow_repeated_frames,
        ),
    )
    audited = audit(config)

    with progress_bars() as bars:
        tasks = {name: bars.add_task(f"videos, {name}", total=None) for name in audited.encoders}
        for name, video in extract_features(audited):
            bars.update(tasks[name], completed=video.done, total=video.total)
    with spinner("fitting probes"):
        record = fit_and_score(audited)

    if json:
        print_json(record)
    else:
        print_evaluation(record)
    say(escape(f"evaluation: {config.out}, of {describe_encoder(record['encoder'])}"))
    return SOME_FAILED if any(part["failed"] for part in record["counts"].values()) else 0
