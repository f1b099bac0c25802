"""Nearest neighbors. Nothing is trained, so nothing can be tuned to the test cases."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Float32, Int64
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from surgrec.errors import ConfigError
from surgrec.evaluation.probes.probe import LabeledFeatures, ProbePredictions

_ROWS = 1024  # Test rows per matrix product: 0.4 GB with 100,000 train rows.


@dataclass(frozen=True, kw_only=True)
class Knn:
    """The class with most votes of the nearest train windows.

    Features are standardized on the train windows first. Otherwise the part that all windows share
    would dominate the cosine, and would differ between encoders for no reason.

    Source of the defaults: DINO (Caron et al. 2021, arXiv:2104.14294, section 4.1).
    """

    k: int = 20
    """Neighbors that vote."""
    temperature: float = 0.07
    """A neighbor of cosine similarity s votes with the weight exp(s / temperature)."""

    name = "knn"
    label = "kNN"
    issues = ()

    def fit_predict(
        self, train: LabeledFeatures, test: Float32[np.ndarray, "m d"]
    ) -> ProbePredictions:
        """Return the class with most votes for each test window."""
        scaler = StandardScaler().fit(train.values.astype(np.float64))
        votes = knn_scores(
            torch.from_numpy(scaler.transform(train.values).astype(np.float32)),
            torch.from_numpy(train.label),
            torch.from_numpy(scaler.transform(test).astype(np.float32)),
            num_classes=train.num_classes,
            k=self.k,
            temperature=self.temperature,
        )
        return ProbePredictions(label=np.asarray(votes.argmax(dim=1).numpy()))

    def describe(self, chosen: Mapping[str, str]) -> str:
        """Return the part of the protocol that describes this probe."""
        return f"{self.label}: cosine similarity, k {self.k}, temperature {self.temperature:g}"


def knn_scores(
    train: Float[Tensor, "n d"],
    labels: Int64[Tensor, " n"],
    test: Float[Tensor, "m d"],
    *,
    num_classes: int,
    k: int = 20,
    temperature: float = 0.07,
) -> Float[Tensor, "m c"]:
    """Return the votes for each class from the nearest train features of each test feature.

    Args:
        train: Train features.
        labels: Their classes, in [0, num_classes).
        test: Features to classify.
        num_classes: Number of classes.
        k: Number of neighbors that vote; all of them if there are fewer.
        temperature: A neighbor of cosine similarity s votes with the weight exp(s / temperature).

    Raises:
        ConfigError: The train set is empty, or k or the temperature is not positive.

    Source: Wu et al. 2018 (arXiv:1805.01978, section 3.4); k 20 and temperature 0.07 as in DINO
    (arXiv:2104.14294).
    """
    if not len(train) or k < 1 or temperature <= 0:
        raise ConfigError(
            f"kNN has {len(train)} training features, k {k} and temperature {temperature}; "
            "give a positive number for each"
        )

    neighbors = F.normalize(train, dim=1)
    scores = []
    for rows in torch.split(F.normalize(test, dim=1), _ROWS):
        cosines = rows @ rearrange(neighbors, "n d -> d n")
        similarity, nearest = cosines.topk(min(k, len(train)), dim=1)
        votes = torch.zeros(len(rows), num_classes, dtype=rows.dtype, device=rows.device)
        scores.append(votes.scatter_add_(1, labels[nearest], (similarity / temperature).exp()))
    return torch.cat(scores)
