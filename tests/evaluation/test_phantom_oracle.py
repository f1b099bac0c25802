"""On the phantom: every protocol ranks the noisy truth first, and finds nothing in shuffles."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from surgrec.comparisons import compare
from surgrec.evaluation._few_shot import few_shot
from surgrec.evaluation._labeled_windows import LabeledWindows, PartWindows
from surgrec.evaluation._run_probes import run_probes
from surgrec.evaluation._units import resampled_units
from surgrec.evaluation.kinds import KindName, KindProbe
from surgrec.evaluation.kinds.classes import ClassProbe
from surgrec.evaluation.probes.temporal import TemporalHead
from surgrec.evaluation.tasks import (
    AuditedTask,
    Results,
    TaskChoice,
    audit_task,
    read_split,
    write_results,
)
from surgrec.features import EncoderChoice, Features, open_encoder
from surgrec.models import Encoder, save_encoder
from tests.support.evaluations import TINY
from tests.support.tool import run_here

pytestmark = pytest.mark.slow
SPLIT = (
    "name: phantom\n"
    'train: {sources: ["phantom-lap"], stored: [train]}\n'
    'test: {sources: ["phantom-lap"], stored: [val, test]}\n'
)
NOISE = {"oracle": 0.3, "weak": 3.0}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a corpus of procedural surgery, with its phases."""
    folder = tmp_path_factory.mktemp("phantom")
    steps = (
        ("phantom", "--out", folder / "videos", "--seed", 0, "--minutes", 4),
        ("build", "--manifest", folder / "videos/videos.csv", "--public", "true")
        + ("--out", folder / "corpus"),
    )
    for words in steps:
        done = run_here(*words)
        assert done.returncode == 0, done.stderr
    torch.manual_seed(0)
    record = {"config": {"sampling_fps": 4.0}, "init_from": None}
    save_encoder(Encoder(TINY), folder / "encoder.safetensors", record)
    (folder / "split.yaml").write_text(SPLIT, encoding="utf-8")
    return folder


def audited(folder: Path, kind: KindName) -> AuditedTask:
    choice = TaskChoice(
        corpora=[str(folder / "corpus")],
        task="phase",
        split=read_split(folder / "split.yaml"),
        kind=kind,
        allow_unknown_pretraining=True,
    )
    encoder = open_encoder(EncoderChoice(path=folder / "encoder.safetensors"), torch.device("cpu"))
    return audit_task(choice, encoder, stride_s=0.5)


def shuffled(part: PartWindows, seed: int) -> PartWindows:
    order = np.random.default_rng(seed).permutation(len(part.values))
    return replace(part, values=[part.values[index] for index in order])


def noisy_truth(task: AuditedTask, windows: LabeledWindows, noise: float) -> Mapping[str, Features]:
    """Return the class of each window with noise, as features."""
    rows = task.videos.windows(task.sampling, task.stride_s)
    rng = np.random.default_rng(3)
    values = noise * rng.normal(size=(len(rows), len(windows.classes)))
    for part in windows.by_name.values():
        values[part.indices] += windows.sets_of(part)
    features = torch.from_numpy(values.astype(np.float32))
    facts = {"encoder": task.encoder}
    return {"trained": Features(rows=rows, values=features, facts=facts, failed=[])}


def probes_of(task: AuditedTask) -> tuple[KindProbe, ...]:
    """Return all probes of a kind. Causal heads have fewer epochs than by default."""
    temporal = [
        replace(probe, probe=replace(probe.probe, max_epochs=8, lr=4e-3))
        for probe in task.kind.temporal_probes
        if isinstance(probe, ClassProbe) and isinstance(probe.probe, TemporalHead)
    ]
    return (*task.kind.probes, *temporal)


@pytest.mark.parametrize("kind", ["phases", "labels"])
def test_every_protocol_ranks_the_noisy_truth_above_a_weak_feature(
    kind: KindName, phantom: Path, tmp_path: Path
) -> None:
    task = audited(phantom, kind)
    windows = task.planned_windows()
    probes = probes_of(task)
    for name, noise in NOISE.items():
        found = run_probes(noisy_truth(task, windows, noise), windows, probes)
        results = Results(
            predictions=found.predictions,
            classifiers={probe.name: probe.label for probe in probes},
            primary="knn",
            methods=["the class of a window with noise"],
        )
        write_results(task, windows, results, tmp_path / name)

    comparison = compare([f"{name}={tmp_path / name}" for name in NOISE])
    (data_set,) = comparison.data_sets
    assert set(comparison.standings) == {probe.name for probe in probes}
    for classifier, standings in comparison.standings.items():
        assert [each.method for each in standings] == ["oracle", "weak"], classifier
        oracle, weak = (data_set.row(name, classifier) for name in NOISE)
        assert oracle is not None
        assert weak is not None
        primary = task.kind.primary
        scores = [row.metrics[primary].value for row in (oracle, weak)]
        assert scores[0] > scores[1] + 0.2, classifier


def test_few_cases_rank_the_noisy_truth_above_a_weak_feature(phantom: Path) -> None:
    task = audited(phantom, "phases")
    windows = task.planned_windows()
    scores = {}
    for name, noise in NOISE.items():
        rows = few_shot(
            noisy_truth(task, windows, noise),
            windows,
            task.kind,
            amounts=("1", "3"),
            stride_s=task.stride_s,
            units=resampled_units(task.sources, windows.test),
        )
        scores[name] = {
            (row["cases"], score["classifier"]): score["metrics"]["macro_f1"]["value"]
            for row in rows
            for score in row["scores"]
        }
    assert len(scores["oracle"]) >= 4
    for key, oracle in scores["oracle"].items():
        assert oracle > scores["weak"][key] + 0.1, key


@pytest.mark.parametrize("kind", ["phases", "labels"])
def test_nothing_is_better_than_chance_with_shuffled_labels(kind: KindName, phantom: Path) -> None:
    task = audited(phantom, kind)
    windows = task.planned_windows()
    features = noisy_truth(task, windows, NOISE["oracle"])
    unrelated = replace(windows, train=shuffled(windows.train, 0), test=shuffled(windows.test, 1))
    useless = noisy_truth(task, unrelated, 1e6)

    def scores(features: Mapping[str, Features]) -> dict[str, float]:
        metric = "balanced_accuracy" if kind == "phases" else task.kind.primary
        everything = np.ones((1, len(windows.test.case_names)))
        return {
            f"{each.classifier} {each.head_seed}": float(
                task.kind.table(each, unrelated, task.stride_s).scores(everything)[metric][0]
            )
            for each in run_probes(features, unrelated, probes_of(task)).predictions
        }

    # Chance: the same protocols on features without any use.
    chance = scores(useless)
    for name, score in scores(features).items():
        assert score < np.mean(list(chance.values())) + 0.1, name
