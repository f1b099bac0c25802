"""Held-out evaluation of a frozen encoder: from a run, corpora and a split to scores beside their baselines."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from surgrec import __version__
from surgrec.clips import ClipSampling
from surgrec.errors import ConfigError
from surgrec.evaluation.audit import (
    Check,
    audit_labels,
    audit_pretraining,
    audit_split,
    require_cases,
    require_several_values,
    require_task,
)
from surgrec.evaluation.labeled_windows import LabeledWindows, part_windows
from surgrec.evaluation.labels import LabelsByVideo, require_one_value, task_labels, window_values
from surgrec.evaluation.protocol import protocol
from surgrec.evaluation.results import EVALUATIONS_FOLDER, FORMAT, write_evaluation
from surgrec.evaluation.run_probes import RANDOM_SEEDS, TRAINED, Classified, classify, random_name
from surgrec.evaluation.split import Parts, Split, corpus_videos, divide
from surgrec.evaluation.verdicts import compare
from surgrec.features import (
    EncoderChoice,
    ExtractConfig,
    Extracted,
    Features,
    extract,
    open_encoder,
    read_features,
)
from surgrec.shards import Source, open_corpus


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What to evaluate, on what, and where to."""

    corpora: list[str]
    """Corpus roots."""
    encoder: EncoderChoice
    task: str
    """Such as `phase`."""
    split: Split
    out: Path
    """Folder that receives the results and the features."""
    extract: ExtractConfig = ExtractConfig()
    allow_pretraining_overlap: bool = False
    """Go on when the encoder was pretrained on test cases."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A request that passed its audit."""

    request: EvaluationConfig
    sources: dict[str, Source]
    parts: Parts
    labels: LabelsByVideo
    encoder: dict[str, Any]
    """Facts about the trained encoder, as JSON."""
    sampling: ClipSampling
    checks: list[Check]

    @property
    def encoders(self) -> dict[str, EncoderChoice]:
        """Every encoder to extract features with, by the name of their folder."""
        trained = self.request.encoder
        return {TRAINED: trained} | {
            random_name(seed): replace(trained, random_seed=seed) for seed in RANDOM_SEEDS
        }


def default_folder(encoder: Path, task: str) -> Path:
    """Where the results of a run's encoder go when nobody says it.

    Raises:
        ConfigError: The encoder is a file, which has no folder of its own.
    """
    if encoder.is_file():
        raise ConfigError(
            f"{encoder} is a file, not the folder of a run; say with --out where the results go"
        )
    return encoder / EVALUATIONS_FOLDER / task


def audited(request: EvaluationConfig) -> Evaluation:
    """Opens everything that an evaluation needs and audits it, before anything is computed.

    Raises:
        SurgrecError: Something is missing, or the audit refuses.
    """
    sources = open_corpus(request.corpora)
    parts = divide(request.split, corpus_videos(sources))
    checks = audit_split(parts)
    labels = task_labels(sources, [*parts.train, *parts.test], request.task)
    require_task(request.task, parts, labels)
    frozen = open_encoder(request.encoder, torch.device("cpu"))
    require_one_value(labels, frozen.sampling, request.extract.stride_s)
    provenance = frozen.facts["provenance"]
    overlap = request.allow_pretraining_overlap
    checks += audit_pretraining(parts.test, provenance, sources, allow_overlap=overlap)
    return Evaluation(
        request=request,
        sources=sources,
        parts=parts,
        labels=labels,
        encoder=frozen.facts,
        sampling=frozen.sampling,
        checks=checks,
    )


def extract_features(evaluation: Evaluation) -> Iterator[tuple[str, Extracted]]:
    """Extracts what is not there yet; yields the name of the encoder after each video."""
    request = evaluation.request
    only = {
        (video.source, video.video) for video in (*evaluation.parts.train, *evaluation.parts.test)
    }
    for name, choice in evaluation.encoders.items():
        for video in extract(
            request.corpora, choice, request.extract, _features_folder(evaluation, name), only
        ):
            yield name, video


def evaluate(evaluation: Evaluation) -> dict[str, Any]:
    """Classifies the test windows by all extracted features, writes the results, and gives `evaluation.json`'s content.

    Raises:
        ConfigError: Too few cases or values have labels, or the features do not belong together.
    """
    request = evaluation.request
    features = {
        name: read_features(_features_folder(evaluation, name)) for name in evaluation.encoders
    }
    windows = _labeled_windows(evaluation, features[TRAINED])
    classified = classify(features, windows)
    record = _record(evaluation, windows, classified)
    write_evaluation(
        request.out, record, windows.test.rows, windows.answers.label, classified.predictions
    )
    return record


def _labeled_windows(evaluation: Evaluation, features: Features) -> LabeledWindows:
    values = window_values(features.rows, evaluation.labels, evaluation.sampling.num_frames)
    parts = evaluation.parts
    train, test = (
        part_windows(own, features.rows, values, features.failed)
        for own in (parts.train, parts.test)
    )
    task = evaluation.request.task
    for part, windows in (("train", train), ("test", test)):
        require_cases(f"{part}, of the cases with a labeled window,", set(windows.cases))
    require_several_values(task, set(train.values))
    return LabeledWindows(train, test)


def _record(
    evaluation: Evaluation, windows: LabeledWindows, classified: Classified
) -> dict[str, Any]:
    """The content of `evaluation.json`."""
    request, train, test = evaluation.request, windows.train, windows.test
    scores, verdicts = compare(windows.answers, classified.predictions, windows.train_share)
    checks = [*evaluation.checks, *audit_labels(request.task, train, test), *classified.checks]
    return {
        "format": FORMAT,
        "encoder": evaluation.encoder,
        "task": request.task,
        "split": {
            "name": request.split.name,
            "sha256": request.split.sha256,
            "rule": request.split.rules,
        },
        "protocol": protocol(
            evaluation.sampling, request.extract, RANDOM_SEEDS, classified.chosen_c
        ),
        "corpus": {
            "addresses": sorted({source.store.address for source in evaluation.sources.values()}),
            "digests": {
                name: source.entry.digest for name, source in sorted(evaluation.sources.items())
            },
        },
        "surgrec": __version__,
        "counts": {"train": train.counts, "test": test.counts},
        "classes": windows.class_rows,
        "audit": [asdict(check) for check in checks],
        "scores": scores,
        "verdicts": verdicts,
    }


def _features_folder(evaluation: Evaluation, name: str) -> Path:
    """Another one for another encoder or other windows, so that a run may be evaluated again when it has gone on."""
    settings = (evaluation.request.extract.stride_s, evaluation.request.extract.precision)
    decided_by = (
        evaluation.encoder["sha256"],
        evaluation.sampling.num_frames,
        evaluation.sampling.fps,
        *settings,
    )
    digest = hashlib.sha256(repr(decided_by).encode("ascii")).hexdigest()
    return evaluation.request.out / "features" / f"{name}-{digest[:8]}"
