"""Held-out evaluation of a frozen encoder: audit, features, probes, scores, files."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from surgrec.encoders import is_preset
from surgrec.errors import ConfigError
from surgrec.evaluation._few_cases import AMOUNTS, number_of_cases, require_fewer
from surgrec.evaluation._few_shot import few_shot, few_shot_method
from surgrec.evaluation._record import Results, write_results
from surgrec.evaluation._results import EVALUATIONS_FOLDER
from surgrec.evaluation._run_probes import RANDOM_SEEDS, TRAINED, random_name, run_probes
from surgrec.evaluation._task import AuditedTask, TaskChoice, audit_task
from surgrec.evaluation._units import resampled_units
from surgrec.evaluation.kinds import KINDS, KindProbe
from surgrec.evaluation.pixels import PIXELS, is_pixels, pixels_choice, pixels_method
from surgrec.features import (
    EncoderChoice,
    ExtractConfig,
    Extracted,
    extract_several,
    open_encoder,
    read_features,
)

FEW_SHOT = AMOUNTS
"""Amounts of train cases that publications use."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The inputs and the output folder of an evaluation."""

    task: TaskChoice
    """Task to evaluate on."""
    encoder: EncoderChoice
    """Encoder to evaluate."""
    out: Path
    """Folder for the results, and for the features unless they have a folder of their own."""
    features: Path | None = None
    """Folder of features that several evaluations share."""
    extract: ExtractConfig = ExtractConfig()
    """Settings of the feature extraction; it allows repeated frames if the task does."""
    temporal: bool = False
    """Also fit causal heads on the windows of a video up to the present one. Takes minutes."""
    few_shot: tuple[str, ...] = ()
    """Also fit the probes on few train cases: numbers such as "3", or shares such as "10%"."""


@dataclass(frozen=True, kw_only=True)
class AuditedEvaluation:
    """An evaluation whose task passed the audit."""

    config: EvaluationConfig
    task: AuditedTask

    @property
    def probes(self) -> tuple[KindProbe, ...]:
        """The probes, in the order of tables."""
        kind = self.task.kind
        return (*kind.probes, *(kind.temporal_probes if self.config.temporal else ()))

    @property
    def encoders(self) -> dict[str, EncoderChoice]:
        """Every encoder to extract features with, by the name of its features."""
        trained = self.config.encoder
        if is_pixels(self.task.encoder):
            return {TRAINED: trained}
        random = {random_name(seed): replace(trained, random_seed=seed) for seed in RANDOM_SEEDS}
        return {TRAINED: trained, **random, PIXELS: pixels_choice(self.task.sampling)}


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
    _require_offered(config)
    encoder = open_encoder(config.encoder, torch.device("cpu"))
    task = audit_task(config.task, encoder, stride_s=config.extract.stride_s)
    if config.few_shot:
        require_fewer(config.few_shot, task.planned_windows().train.counts["cases"])
    return AuditedEvaluation(config=config, task=task)


def _require_offered(config: EvaluationConfig) -> None:
    """Refuse causal heads for a kind that has none, and amounts of cases that are none."""
    kind = KINDS[config.task.kind]
    if config.temporal and not kind.temporal_probes:
        raise ConfigError(
            "--temporal is for tasks of one class at a time, but the task kind is "
            f"{kind.name}; leave --temporal out"
        )
    for amount in config.few_shot:
        number_of_cases(amount, 1)


def extract_features(evaluation: AuditedEvaluation) -> Iterator[tuple[str, Extracted]]:
    """Extract all features that are still missing; decode each video once for all encoders.

    Yields:
        After each video, the name of the features and the progress.
    """
    config = evaluation.config
    names = {_features_folder(evaluation, name): name for name in evaluation.encoders}
    choices = {folder: evaluation.encoders[name] for folder, name in names.items()}
    for folder, video in extract_several(
        config.task.corpora, choices, config.extract, evaluation.task.video_names
    ):
        yield names[folder], video


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
    trained = features[TRAINED]

    device = torch.device(evaluation.config.extract.devices[0])
    windows = evaluation.task.windows(trained.rows, trained.failed)
    probes = evaluation.probes
    fits = run_probes(features, windows, probes, device)

    few = few_shot(
        features,
        windows,
        evaluation.task.kind,
        amounts=evaluation.config.few_shot,
        stride_s=evaluation.task.stride_s,
        scope=evaluation.task.choice.scope,
        units=resampled_units(evaluation.task.sources, windows.test),
        device=device,
    )

    results = Results(
        predictions=fits.predictions,
        classifiers={probe.name: probe.label for probe in probes},
        primary=probes[0].name,
        methods=[*_methods(evaluation, fits.chosen), *few_shot_method(few)],
        checks=fits.checks,
        few_shot=few,
    )
    return write_results(evaluation.task, windows, results, evaluation.config.out)


def _methods(evaluation: AuditedEvaluation, chosen: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the parts of the protocol about features and probes.

    Args:
        evaluation: The evaluation.
        chosen: Settings that probes chose: for each probe, by the name of the features.
    """
    sampling, extraction = evaluation.task.sampling, evaluation.config.extract
    trained = (
        "Frozen encoder, as trained and with random weights (its own initialization, seeds "
        f"{', '.join(map(str, RANDOM_SEEDS))})"
    )
    return [
        "No encoder" if is_pixels(evaluation.task.encoder) else trained,
        pixels_method(),
        f"a feature is the mean of all output tokens for one window of {sampling.num_frames} "
        f"frames at {sampling.fps:g} frames per second ({sampling.span_s:g} s), central square "
        f"crop, a window every {extraction.stride_s:g} s of a video, precision "
        f"{extraction.precision}",
        "features standardized on the train windows",
        *(probe.describe(chosen[probe.name]) for probe in evaluation.probes),
    ]


def _features_folder(evaluation: AuditedEvaluation, name: str) -> Path:
    """Return a folder that is unique to the encoder and the windows.

    So a run can be evaluated again after it has trained on.
    """
    facts = evaluation.task.encoder
    if name == PIXELS:  # the same for all encoders with these windows
        facts = open_encoder(evaluation.encoders[name], torch.device("cpu")).facts
    identity = (
        facts["sha256"],
        evaluation.task.sampling.num_frames,
        evaluation.task.sampling.fps,
        evaluation.config.extract.stride_s,
        evaluation.config.extract.precision,
    )
    digest = hashlib.sha256(repr(identity).encode("ascii")).hexdigest()
    parent = evaluation.config.features or evaluation.config.out / "features"
    return parent / f"{name}-{digest[:8]}"
