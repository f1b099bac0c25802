"""Held-out evaluation of a frozen encoder: audit, features, probes, scores, files."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from surgrec import __version__
from surgrec.clips import ClipSampling
from surgrec.encoders import is_preset
from surgrec.errors import ConfigError
from surgrec.evaluation._audit import (
    Check,
    audit_label_times,
    audit_labels,
    audit_pretraining,
    audit_split,
    require_cases,
    require_several_values,
    require_task,
)
from surgrec.evaluation._labeled_windows import LabeledWindows, part_windows
from surgrec.evaluation._protocol import protocol
from surgrec.evaluation._results import EVALUATIONS_FOLDER, FORMAT, write_evaluation
from surgrec.evaluation._run_probes import (
    RANDOM_SEEDS,
    TRAINED,
    ProbeResults,
    random_name,
    run_probes,
)
from surgrec.evaluation._verdicts import compare
from surgrec.evaluation._window_labels import (
    LabelsByVideo,
    require_one_value,
    task_labels,
    window_values,
)
from surgrec.features import (
    EncoderChoice,
    ExtractConfig,
    Extracted,
    Features,
    extract,
    open_encoder,
    open_videos,
    read_features,
)
from surgrec.runs.drawn import pretraining_data
from surgrec.shards import Source, open_corpus
from surgrec.splits import Parts, Split, corpus_videos, divide


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The inputs and the output folder of an evaluation."""

    corpora: list[str]
    """Corpus roots."""
    encoder: EncoderChoice
    """Encoder to evaluate."""
    task: str
    """Labels to predict, such as `phase`."""
    split: Split
    """Rules that select train and test cases."""
    out: Path
    """Folder for the results and the features."""
    extract: ExtractConfig = ExtractConfig()
    """Settings of the feature extraction."""
    allow_pretraining_overlap: bool = False
    """Continue if the encoder was pretrained on test cases, or if that is unknown."""
    allow_unknown_pretraining: bool = False
    """Continue if it is unknown whether the encoder was pretrained on test cases."""


@dataclass(frozen=True, kw_only=True)
class AuditedEvaluation:
    """An evaluation that passed its audit: opened corpora, chosen videos, labels, checks."""

    config: EvaluationConfig
    sources: dict[str, Source]
    parts: Parts
    labels: LabelsByVideo
    encoder: dict[str, Any]
    """Facts about the trained encoder, as JSON."""
    sampling: ClipSampling
    """Frames of a window."""
    checks: list[Check]
    overrides: list[str]
    """Findings that only an option allows, as sentences."""

    @property
    def encoders(self) -> dict[str, EncoderChoice]:
        """Every encoder to extract features with, by the name of its features."""
        trained = self.config.encoder
        return {TRAINED: trained} | {
            random_name(seed): replace(trained, random_seed=seed) for seed in RANDOM_SEEDS
        }


def default_folder(encoder: Path, task: str) -> Path:
    """Return the folder within a run for the results of a task.

    Raises:
        ConfigError: The encoder is a file outside a run, or a preset.
    """
    if encoder.is_file() or (is_preset(str(encoder)) and not encoder.is_dir()):
        raise ConfigError(
            f"{encoder} is not the folder of a run; give a folder for the results with --out"
        )
    return encoder / EVALUATIONS_FOLDER / task


def audit(config: EvaluationConfig) -> AuditedEvaluation:
    """Open the inputs of an evaluation and audit them, before anything is computed.

    Args:
        config: The evaluation.

    Raises:
        SurgrecError: An input is missing, or the audit refuses the evaluation.

    Example:
        >>> audited = audit(config)
        >>> for name, video in extract_features(audited):
        ...     print(name, video.done, video.total)
        >>> evaluate(audited)["verdicts"][0]["verdict"]
        'better'
    """
    sources = open_corpus(config.corpora)
    parts = divide(config.split, corpus_videos(sources))
    checks = audit_split(parts)

    labels = task_labels(sources, [*parts.train, *parts.test], config.task)
    require_task(config.task, parts, labels)
    frozen = open_encoder(config.encoder, torch.device("cpu"))
    require_one_value(labels, frozen.sampling, config.extract.stride_s)
    only = {(video.source, video.video) for video in (*parts.train, *parts.test)}
    repeated = open_videos(config.corpora, only).require(
        frozen.sampling, allow_repeated_frames=config.extract.allow_repeated_frames
    )

    pretraining = audit_pretraining(
        parts.test,
        pretraining_data(frozen.provenance, frozen.facts["name"]),
        sources,
        allow_overlap=config.allow_pretraining_overlap,
        allow_unknown=config.allow_unknown_pretraining,
    )
    return AuditedEvaluation(
        config=config,
        sources=sources,
        parts=parts,
        labels=labels,
        encoder=frozen.facts,
        sampling=frozen.sampling,
        checks=[*checks, audit_label_times(labels, sources), *pretraining.checks],
        overrides=[
            *pretraining.overrides,
            *(
                f"allowed by --allow_repeated_frames: {row}, but a window has "
                f"{frozen.sampling.fps:g}"
                for row in repeated
            ),
        ],
    )


def extract_features(evaluation: AuditedEvaluation) -> Iterator[tuple[str, Extracted]]:
    """Extract all features that are still missing.

    Yields:
        After each video, the name of the features and the progress.
    """
    config, parts = evaluation.config, evaluation.parts
    only = {(video.source, video.video) for video in (*parts.train, *parts.test)}
    for name, choice in evaluation.encoders.items():
        folder = _features_folder(evaluation, name)
        for video in extract(config.corpora, choice, config.extract, folder, only):
            yield name, video


def evaluate(evaluation: AuditedEvaluation) -> dict[str, Any]:
    """Fit the probes on the extracted features, and write the results.

    Returns:
        The content of `evaluation.json`.

    Raises:
        ConfigError: Too few cases or values have labels, or the features do not match.
    """
    features = {
        name: read_features(_features_folder(evaluation, name)) for name in evaluation.encoders
    }
    windows = _labeled_windows(evaluation, features[TRAINED])
    results = run_probes(features, windows)

    record = _record(evaluation, windows, results)
    write_evaluation(
        evaluation.config.out,
        record,
        windows.test.rows,
        windows.truth.label,
        results.predictions,
    )
    return record


def _labeled_windows(evaluation: AuditedEvaluation, features: Features) -> LabeledWindows:
    values = window_values(features.rows, evaluation.labels, evaluation.sampling.num_frames)
    train, test = (
        part_windows(videos, features.rows, values, features.failed)
        for videos in (evaluation.parts.train, evaluation.parts.test)
    )
    for part, windows in (("train", train), ("test", test)):
        require_cases(part, set(windows.cases), " with a labeled window")
    require_several_values(evaluation.config.task, set(train.values))
    return LabeledWindows(train, test)


def _record(
    evaluation: AuditedEvaluation, windows: LabeledWindows, results: ProbeResults
) -> dict[str, Any]:
    """Return the content of `evaluation.json`."""
    config, train, test = evaluation.config, windows.train, windows.test
    scores, verdicts = compare(windows.truth, results.predictions, windows.train_shares)
    checks = [*evaluation.checks, *audit_labels(config.task, train, test), *results.checks]
    sources = sorted(evaluation.sources.items())

    return {
        # The inputs and the method.
        "format": FORMAT,
        "encoder": evaluation.encoder,
        "task": config.task,
        "split": {
            "name": config.split.name,
            "sha256": config.split.sha256,
            "rule": config.split.rules,
        },
        "protocol": protocol(evaluation.sampling, config.extract, RANDOM_SEEDS, results.chosen),
        "corpus": {
            "addresses": sorted({source.store.address for _, source in sources}),
            "digests": {name: source.entry.digest for name, source in sources},
        },
        "surgrec": __version__,
        # The windows and the results.
        "counts": {"train": train.counts, "test": test.counts},
        "classes": windows.class_rows,
        "audit": [asdict(check) for check in checks],
        "overrides": evaluation.overrides,
        "scores": scores,
        "verdicts": verdicts,
    }


def _features_folder(evaluation: AuditedEvaluation, name: str) -> Path:
    """Return a folder that is unique to the encoder and the windows.

    So a run can be evaluated again after it has trained on.
    """
    identity = (
        evaluation.encoder["sha256"],
        evaluation.sampling.num_frames,
        evaluation.sampling.fps,
        evaluation.config.extract.stride_s,
        evaluation.config.extract.precision,
    )
    digest = hashlib.sha256(repr(identity).encode("ascii")).hexdigest()
    return evaluation.config.out / "features" / f"{name}-{digest[:8]}"
