"""The results of a recipe: test outputs of each encoder to the files of an evaluation."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from jaxtyping import Float32
from torch import Tensor

from surgrec.evaluation.tasks import (
    Check,
    Prediction,
    Results,
    WindowKey,
    few_shot_method,
    pixel_baseline,
    write_results,
)
from surgrec.supervised._few_shot import CHOICE, FewShot
from surgrec.supervised._outputs import WindowOutputs
from surgrec.supervised._targets import Targets
from surgrec.supervised._task import SupervisedTask


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """The outputs of one encoder for the test windows."""

    random_seed: int | None
    """Seed of random weights; None for the trained encoder."""
    head_seeds: Sequence[int]
    """Seed of each head."""
    test: WindowOutputs
    failed: dict[WindowKey, str]
    """Reason of each window of any part that could not be read."""

    def predictions(
        self, task: SupervisedTask, keys: Sequence[WindowKey], classifier: str
    ) -> list[Prediction]:
        """Return the prediction of each head for test windows, in the order of the keys."""
        found = []
        for seed, outputs in zip(self.head_seeds, self.test.of(keys), strict=True):
            prediction = Prediction(
                features="trained" if self.random_seed is None else "random",
                classifier=classifier,
                seed=self.random_seed or 0,
                head_seed=seed,
            )
            found.append(replace(prediction, **_predicted(task.targets, outputs)))
        return found


def _predicted(targets: Targets, outputs: Float32[Tensor, "n k"]) -> dict[str, Any]:
    """Return the fields of a prediction that depend on the kind of targets."""
    if targets.kind == "value":
        return {"number": targets.numbers(outputs).numpy()}
    probability = {"probability": targets.probabilities(outputs).numpy()}
    if targets.kind == "labels":
        return probability
    return probability | {"label": outputs.argmax(-1).numpy()}


def write_stage_results(
    task: SupervisedTask,
    stages: Sequence[StageResult],
    pixels: WindowOutputs,
    *,
    classifier: str,
    label: str,
    methods: Sequence[str],
    few_shot: FewShot | None = None,
    few_stages: Sequence[StageResult] = (),
    checks: Sequence[Check] = (),
) -> dict[str, Any]:
    """Score the outputs of all encoders, and write the files of an evaluation.

    Args:
        task: The task.
        stages: The outputs.
        pixels: The pixels of all labeled windows.
        classifier: Name of the method in files.
        label: Its name in text.
        methods: Its parts of the protocol.
        few_shot: Subsets of train cases.
        few_stages: Outputs of the heads on them, amount by amount.
        checks: Further rows of the audit.

    Returns:
        The content of `evaluation.json`.
    """
    failed: dict[WindowKey, str] = dict(pixels.missing)
    few_shot = few_shot or FewShot(task=task, amounts=[])
    for stage in (*stages, *few_stages):
        failed |= stage.failed
    windows = task.final_windows(failed)
    keys = [row.key for row in windows.test.rows]

    predictions = [
        prediction for stage in stages for prediction in stage.predictions(task, keys, classifier)
    ]
    baseline = pixel_baseline(
        task.audited,
        windows,
        {key: heads[0] for key, heads in pixels.outputs.items()},
        few=few_shot.readable(windows),
    )
    # Each encoder has a head per subset, then the probes on pixels follow.
    on_few = [each.predictions(task, keys, classifier) for each in few_stages]
    few_rows = few_shot.rows(
        windows,
        [
            [*few_shot.of_amount(number, on_few), *of_pixels]
            for number, of_pixels in enumerate(baseline.on_few)
        ],
        classifier,
    )
    results = Results(
        predictions=[*predictions, *baseline.predictions],
        classifiers={classifier: label, **baseline.classifiers},
        primary=classifier,
        methods=[
            *_window_methods(task),
            *methods,
            *baseline.methods,
            *few_shot_method(few_rows, CHOICE),
        ],
        checks=[*checks, *baseline.checks],
        few_shot=few_rows,
    )
    return write_results(task.audited, windows, results, task.config.out)


def _window_methods(task: SupervisedTask) -> list[str]:
    """Return the parts of the protocol about windows."""
    config, sampling = task.config, task.audited.sampling
    views = asdict(config.augment) if config.random_views else "central squares"
    return [
        f"a window has {sampling.num_frames} frames at {sampling.fps:g} frames per second "
        f"({sampling.span_s:g} s), a window every {config.stride_s:g} s of a video",
        f"views of train windows: {views}; test windows are central squares; precision "
        f"{config.precision}",
        f"{config.epochs:g} epochs of {config.global_batch} windows per step, learning rate: "
        f"cosine to 0 after {config.warmup_epochs:g} epochs of warm-up, order seed {config.seed}",
    ]
