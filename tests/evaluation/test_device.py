"""The device of the probes: features are moved to it, and no step of kNN leaves it.

The tensors of these tests have no values, so that a device which the machine lacks has them, too.
"""

from collections.abc import Callable, Mapping
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from surgrec.errors import SetupError
from surgrec.evaluation._few_shot import few_shot
from surgrec.evaluation._labeled_windows import LabeledWindows
from surgrec.evaluation._run_probes import TRAINED, run_probes
from surgrec.evaluation.kinds import KINDS, KindProbe
from surgrec.evaluation.kinds.kind import Inputs, Outcome
from surgrec.evaluation.probes.knn import knn_means, knn_scores
from surgrec.evaluation.probes.standardize import standardized
from surgrec.features import ExtractConfig
from surgrec.scores import case_weights
from surgrec.scores.units import Units
from tests.evaluation.test_choices import features, part

META = torch.device("meta")


class Recorder(KindProbe):
    """A probe that records the devices of its inputs and predicts the first class."""

    name, label = "recorder", "recorder"
    issues, seeds = (), (0,)

    def __init__(self) -> None:
        self.devices: list[str] = []

    def fit(self, inputs: Inputs, windows: LabeledWindows, seed: int) -> Outcome:
        self.devices += [each.values.device.type for each in inputs if each is not None]
        rows = len(windows.test.rows)
        return Outcome(label=np.zeros(rows, dtype=np.int64))

    def describe(self, chosen: Mapping[str, str]) -> str:
        return self.name


def test_probes_get_their_features_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Recorder()
    windows = LabeledWindows(part(0, 4), part(8, 12), part(4, 8))
    run_probes({TRAINED: features(0)}, windows, [probe], META)
    assert probe.devices == ["meta"] * 3

    kind = KINDS["classes"]
    monkeypatch.setattr(type(kind), "probes", (probe,))
    probe.devices.clear()
    units = Units(weights=case_weights(4), of_case=np.arange(4), name="cases")
    few_shot(
        {TRAINED: features(0)},
        windows,
        kind,
        amounts=("2",),
        stride_s=1.0,
        units=units,
        device=META,
    )
    assert set(probe.devices) == {"meta"}


@pytest.mark.parametrize(
    "run",
    [
        lambda values, labels: standardized(values, values)[1],
        lambda values, labels: knn_scores(values, labels, values, num_classes=3),
        lambda values, labels: knn_means(values, labels[:, None].float(), values),
    ],
    ids=["standardized", "kNN of classes", "kNN of numbers"],
)
def test_no_step_of_knn_leaves_a_gpu(run: Callable[[Tensor, Tensor], Tensor]) -> None:
    with FakeTensorMode():
        labels = torch.zeros(50, dtype=torch.int64, device="cuda")
        assert run(torch.empty(50, 8, device="cuda"), labels).device.type == "cuda"


def test_the_devices_are_the_gpus_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(device_count=lambda: 2))
    assert ExtractConfig(processes=3).devices == ["cuda:0", "cuda:1", "cuda:0"]
    assert ExtractConfig(device="cpu", processes=2).devices == ["cpu", "cpu"]
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(device_count=lambda: 0))
    assert ExtractConfig().devices == ["cpu"]
    with pytest.raises(SetupError, match="--device is cuda, but torch finds no GPU"):
        _ = ExtractConfig(device="cuda").devices
